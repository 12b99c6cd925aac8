"""A NATS server of the fleet's demo's own: on loopback, its stream in a directory that goes with it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pipeline.demo.sidecar import background

if TYPE_CHECKING:
    from pipeline.node.schedule import Stop

MISSING = "the fleet needs nats-server (pip install 'vmafx-sidecar[fleet-server]')"
_START_S, _LOOK_S, _GRACE_S = 30.0, 0.1, 10.0


class ServerFailedError(Exception):
    """The server does not answer; the message says what it said last."""


def nats_server() -> str | None:
    """Return where nats-server is: beside this interpreter, or on the path."""
    beside = str(Path(sys.executable).parent)
    return shutil.which("nats-server", path=os.pathsep.join([beside, os.environ.get("PATH", "")]))


class NatsServer:
    """``nats-server`` with JetStream, from `start` on."""

    def __init__(self, program: str, directory: Path, log: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = int(free.getsockname()[1])
        self._program, self._directory, self._log = program, directory, log
        self.url = f"nats://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        where = ["--addr", "127.0.0.1", "--port", str(self._port), "--store_dir", str(self._directory)]
        self._process = background([self._program, "--jetstream", *where], os.environ, self._log)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def wait(self, stop: Stop) -> None:
        """Wait until it answers, or told to stop. Raises ServerFailedError."""
        give_up = time.monotonic() + _START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > give_up:
                lines = self._log.read_text(errors="replace").splitlines() or ["no output"]
                raise ServerFailedError(f"nats-server does not answer: {lines[-1]} (all of it in {self._log})")
            if stop.wait(_LOOK_S):
                return

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=1) as dialled:
                return dialled.recv(4) == b"INFO"
        except OSError:
            return False
