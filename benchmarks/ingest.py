"""Ingest against what decoding alone allows, and against the obvious server.

Pipelined clients on real sockets, in a process of their own; all processes of the sidecar run. Rates by processor time
are of the ingest process alone, whoever else wants the cores; rates by the clock are what the clients see.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import psutil

from benchmarks.clients import apart, pipelined
from benchmarks.figures import Figure, at_least
from benchmarks.sidecar import Sidecar, running
from benchmarks.traffic import messages
from pipeline.protocol import Sample

BOUND = (
    "decoding itself, which makes a Python float of every number: the rest is to pack these into a row, to hash and "
    "look up what identifies a sample, the system's copies into and out of the sockets, and the answers. At 6 features "
    "the work per message that does not grow with the features weighs more; by the clock, clients and trainer "
    "share the cores with ingest. The obvious server comes to about a tenth of decoding at 80 features, so that ten "
    "times its rate would be nearly all that decoding alone allows."
)
ROUNDS = 5
CONNECTIONS = 8
SECONDS = 2.0
# More than twice what the sidecar remembers to recognise resends.
MESSAGES = 30_000


class Rates(NamedTuple):
    """Messages a second, in one round."""

    ingest_by_processor: float
    ingest_by_clock: float
    decoding: float
    obvious: float


def figures() -> list[Figure]:
    """Measure on 80 and on 6 features."""
    return [figure for n_features in (80, 6) for figure in _compare(n_features)]


def _compare(n_features: int) -> list[Figure]:
    goal = 0.55 if n_features == 80 else 0.4
    lines = messages(MESSAGES, n_features)
    with running(n_features) as sidecar, _obvious_server(n_features) as obvious:
        rounds = [_round(sidecar, obvious, lines) for _ in range(ROUNDS)]
    setting = f"{n_features} features, {CONNECTIONS} connections"
    decoding, server = "msgspec decode alone, one core", "the obvious server"
    return [
        at_least("ingest, by processor time", decoding, setting, tuple(r[0] / r.decoding for r in rounds), goal),
        at_least("ingest, by the clock", decoding, setting, tuple(r[1] / r.decoding for r in rounds), goal),
        at_least("ingest, by the clock", server, setting, tuple(r[1] / r.obvious for r in rounds), 10),
    ]


def _round(sidecar: Sidecar, obvious: str, lines: list[bytes]) -> Rates:
    by_processor, by_clock = ingest_rates(sidecar, lines, CONNECTIONS)
    decoding = decode_rate(lines)
    return Rates(by_processor, by_clock, decoding, apart(pipelined, obvious, lines, CONNECTIONS, SECONDS))


def ingest_rates(sidecar: Sidecar, lines: list[bytes], connections: int) -> tuple[float, float]:
    """Return messages a second of ingest's processor time, and by the clock; then let the trainer catch up."""
    process = psutil.Process(sidecar.board.ingest().pid)
    accepted, used = sidecar.reconciled(), sum(process.cpu_times()[:2])
    by_clock = apart(pipelined, sidecar.socket, lines, connections, SECONDS)
    used = sum(process.cpu_times()[:2]) - used
    return (sidecar.reconciled() - accepted) / used, by_clock


def decode_rate(lines: list[bytes]) -> float:
    """Return messages that msgspec decodes a second into `Sample`, one at a time, none kept.

    For a number of features that it is told it is faster, which is one of the things that ingest gains from.
    """
    decode = msgspec.json.Decoder(Sample).decode
    bare = [line[:-1] for line in lines]
    began = time.process_time()
    for line in bare:
        decode(line)
    return len(bare) / (time.process_time() - began)


@contextlib.contextmanager
def _obvious_server(n_features: int) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="vmafx-bench-") as directory:
        path = Path(directory) / "obvious.sock"
        server = subprocess.Popen([sys.executable, "-m", "benchmarks.obvious_server", str(path), str(n_features)])
        try:
            while not path.exists():
                time.sleep(0.05)
            yield str(path)
        finally:
            server.kill()
            server.wait()
