"""A client written from the contract alone: a socket, JSON, and the promise of one answer a message."""

import json
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from tests.support.waiting import PATIENCE_S

Json = dict[str, Any]


class Client:
    """One long-lived connection."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(PATIENCE_S)
        try:
            self.socket.connect(str(path))
        except OSError:
            self.socket.close()
            raise
        self._lines = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self.socket.close()

    def write(self, *messages: Json | bytes) -> None:
        """Write messages, or lines as they are, without waiting for an answer."""
        self.socket.sendall(b"".join(map(line, messages)))

    def read(self) -> Json:
        """Read one answer; an answer is one line of one JSON object, with numbers that a strict parser takes."""
        answer = self._lines.readline()
        assert answer.endswith(b"\n"), "the connection was closed in place of an answer"
        parsed = json.loads(answer, parse_constant=_refuse_constant)
        assert isinstance(parsed, dict)
        return parsed

    def ask(self, message: Json | bytes) -> Json:
        """Send one message in lock-step; return its answer."""
        self.write(message)
        return self.read()

    def ask_all(self, messages: Iterable[Json | bytes]) -> list[Json]:
        """Write all messages, then read as many answers."""
        batch = list(messages)
        self.write(*batch)
        return [self.read() for _ in batch]

    def is_silent(self) -> bool:
        """Tell whether nothing more comes: a message sent now gets the very next answer."""
        probe = sample("is-anything-left")
        return bool(self.ask(probe)["job_id"] == "is-anything-left")


def sample(job_id: str, score: float = 92.4, **more: object) -> Json:
    """Return a message as in the contract, of six features that belong to this job alone."""
    unique = (hash(job_id) % 100_000) / 1e6
    return {"job_id": job_id, "features": [0.9, 0.5, 0.6, 0.7, 0.8, 3.0 + unique], "true_score": score, **more}


def line(message: Json | bytes) -> bytes:
    """Return the line of a message; bytes are taken as they are."""
    return message if isinstance(message, bytes) else json.dumps(message).encode() + b"\n"


def _refuse_constant(name: str) -> None:
    raise AssertionError(f"{name} in an answer")
