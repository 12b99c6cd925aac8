"""Lock-step clients: storing and answering once a round, after all sockets were read, against once per socket."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.clients import apart, lock_step
from benchmarks.figures import Figure, at_least
from benchmarks.sidecar import environment_in
from benchmarks.traffic import messages

BOUND = (
    "the client, which takes as long for a message as ingest with rounds: about half of the sockets are ready when a "
    "round begins. What a round saves is the bulk work's fixed cost for each call, paid once for all that were ready; "
    "the system calls, one receive and one send for each message, are made by both kinds."
)
ROUNDS = 5
CONNECTIONS = 8
SECONDS = 1.0


def figures() -> list[Figure]:
    """Measure on 80 and on 6 features."""
    return [_compare(n_features) for n_features in (80, 6)]


def _compare(n_features: int) -> Figure:
    lines = messages(30_000, n_features)

    def rate(path: str) -> float:
        return apart(lock_step, path, lines, CONNECTIONS, SECONDS)[0]

    with _bare_ingest("rounds", n_features) as rounds, _bare_ingest("sockets", n_features) as sockets:
        ratios = tuple(rate(rounds) / rate(sockets) for _ in range(ROUNDS))
    setting = f"{n_features} features, {CONNECTIONS} connections"
    return at_least("lock-step clients", "answers sent per socket", setting, ratios, 2)


@contextlib.contextmanager
def _bare_ingest(how: str, n_features: int) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="vmafx-bench-") as directory:
        environment = environment_in(Path(directory), n_features, {})
        path = Path(environment["VMAFX_SIDECAR_SOCKET"])
        server = subprocess.Popen([sys.executable, "-m", "benchmarks.bare_ingest", how], env=environment)
        try:
            while not path.exists():
                time.sleep(0.05)
            yield str(path)
        finally:
            server.terminate()
            server.wait()
            subprocess.run(
                [sys.executable, "-m", "pipeline", "clean"], env=environment, stdout=subprocess.DEVNULL, check=False
            )
