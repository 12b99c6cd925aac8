"""A sidecar's end of the socket that answers as a test wants it to, well or badly."""

import json
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

Message = dict[str, Any]
Script = Callable[[Message], bytes | None]


def ok(message: Message, **fields: object) -> bytes:
    """Return the answer to an accepted message."""
    return json.dumps({"ok": True, "step": 1, "job_id": message["job_id"], **fields}).encode() + b"\n"


def refusal(message: Message) -> bytes:
    """Return the answer to a refused message."""
    return json.dumps({"ok": False, "error": "no", "job_id": message["job_id"]}).encode() + b"\n"


class ScriptedSidecar:
    """Listens on a Unix socket and answers each line with what ``script`` returns; None hangs up."""

    def __init__(self, path: Path, script: Script = ok) -> None:
        self.received: list[Message] = []
        self.connections = 0
        self._script = script
        self._open: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(16)
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.hang_up()

    def hang_up(self) -> None:
        """Cut every connection."""
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def jobs(self) -> list[str]:
        """Return the job of each message received, in order."""
        return [message["job_id"] for message in self.received]

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rb") as lines:
                for line in lines:
                    message = json.loads(line)
                    self.received.append(message)
                    answer = self._script(message)
                    if answer is None:
                        return
                    connection.sendall(answer)
        except OSError:
            return
