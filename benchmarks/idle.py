"""The processor time that a sidecar takes while nobody sends anything."""

from __future__ import annotations

import time

from benchmarks.clients import apart, lock_step
from benchmarks.figures import Figure, at_most
from benchmarks.sidecar import running
from benchmarks.traffic import messages

BOUND = (
    "how often each process looks up: the trainer twenty times a second for new samples, the exporter ten times for "
    "what is due, ingest five times and the monitor twice to show that they live."
)
ROUNDS = 4
_SECONDS = 5.0


def figures() -> list[Figure]:
    """Measure all processes together, after some samples have been learned from."""
    shares = []
    with running(80) as sidecar:
        apart(lock_step, sidecar.socket, messages(2000, 80), 2, 0.5)
        sidecar.settled()
        time.sleep(2.0)
        for _ in range(ROUNDS):
            before, began = sidecar.processor_seconds(), time.monotonic()
            time.sleep(_SECONDS)
            shares.append(100 * (sidecar.processor_seconds() - before) / (time.monotonic() - began))
    return [at_most("idle, all processes", "one core", "80 features", tuple(shares), 1, "%")]
