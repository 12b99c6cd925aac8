"""How long until the first answer: from `vmafx-sidecar run`, and from the death of ingest."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.figures import Figure, at_most
from benchmarks.sidecar import environment_in, running
from benchmarks.traffic import message
from pipeline.runtime.lifecycle import SHORT_LIFE_S

BOUND = (
    "importing: of Python's start, numpy, the logger and msgspec by ingest, after those of supervisord by the command; "
    "the other processes start at the same time, so with fewer cores than processes they take turns."
)
ROUNDS = 5


def figures() -> list[Figure]:
    """Measure on 80 features: nothing here depends on their number."""
    starts = tuple(_start() for _ in range(ROUNDS))
    kills = _kills()
    return [
        at_most("start to first answer", "-", "80 features", starts, 0.5, "s"),
        at_most("ingest killed to first answer", "-", "80 features", kills, 0.5, "s"),
    ]


def _start() -> float:
    with tempfile.TemporaryDirectory(prefix="vmafx-bench-") as directory:
        environment = environment_in(Path(directory), 80, {})
        began = time.monotonic()
        command = [sys.executable, "-m", "pipeline"]
        process = subprocess.Popen(
            [*command, "run"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        seconds = _answered_at(environment["VMAFX_SIDECAR_SOCKET"]) - began
        process.terminate()
        process.wait()
        subprocess.run([*command, "clean"], env=environment, stdout=subprocess.DEVNULL, check=False)
        return seconds


def _kills() -> tuple[float, ...]:
    seconds = []
    with running(80) as sidecar:
        for _ in range(ROUNDS):
            time.sleep(SHORT_LIFE_S + 0.5)  # a process that dies earlier waits before its restart
            began = time.monotonic()
            os.kill(sidecar.board.ingest().pid, signal.SIGKILL)
            seconds.append(_answered_at(sidecar.socket) - began)
    return tuple(seconds)


def _answered_at(path: str) -> float:
    """Try to get an answer until there is one; return when that was."""
    line = message(time.time_ns(), 80, random.Random())
    while True:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(2.0)
            try:
                client.connect(path)
                client.sendall(line)
                if client.recv(4096):
                    return time.monotonic()
            except OSError:
                time.sleep(0.002)
