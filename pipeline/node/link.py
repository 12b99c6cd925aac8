"""One connection to the sidecar: whole lines out, whole answers in, each within its deadline."""

import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

import msgspec

LONGEST_ANSWER = 1 << 16
"""Bytes without a newline after which the peer is not taken for a sidecar."""


class OutOfStepError(ConnectionError):
    """The peer's answers do not fit the messages, so the connection is of no more use."""


class Answer(msgspec.Struct, frozen=True):
    """What the sidecar says of one message; fields that are not known are ignored."""

    ok: bool
    step: int = 0
    checkpoint: str | None = None
    error: str = ""
    job_id: str | None = None


_decoder = msgspec.json.Decoder(Answer)


class Link:
    """A connected socket; every failure, a missed deadline included, is an `OSError`."""

    def __init__(self, path: Path, *, dial_s: float, deadline_s: float) -> None:
        self._deadline_s = deadline_s
        self._unfinished = b""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(dial_s)
            self._socket.connect(str(path))
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def hang_up(self) -> None:
        """End the connection from another thread: whatever waits on it fails at once."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def write(self, lines: bytes) -> None:
        """Write whole lines within the deadline."""
        self._socket.settimeout(self._deadline_s)
        self._socket.sendall(lines)

    def read(self) -> list[Answer]:
        """Return the answers that have come, waiting for the first of them until the deadline."""
        deadline = time.monotonic() + self._deadline_s
        while b"\n" not in self._unfinished:
            self._receive(deadline)
        *lines, self._unfinished = self._unfinished.split(b"\n")
        return [_decode(line) for line in lines]

    def _receive(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._socket.settimeout(left)
        received = self._socket.recv(LONGEST_ANSWER)
        if not received:
            raise ConnectionResetError("closed by the sidecar")
        self._unfinished += received
        if len(self._unfinished) > LONGEST_ANSWER and b"\n" not in self._unfinished:
            raise OutOfStepError(f"an answer longer than {LONGEST_ANSWER} bytes")


def _decode(line: bytes) -> Answer:
    try:
        return _decoder.decode(line)
    except msgspec.DecodeError as error:
        raise OutOfStepError(f"an answer that cannot be read: {error}") from None
