"""What a sidecar costs while nobody sends anything, and how soon a sample is in a gradient when somebody does."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import numpy as np

from benchmarks import traffic
from benchmarks.clients import apart, lock_step
from benchmarks.figures import Figure, at_most
from benchmarks.sidecar import Sidecar, running
from pipeline.runtime import messages, regions
from pipeline.runtime.messages import TrainerSnapshot
from pipeline.shm.mailbox import Mailbox

BOUND = (
    "that each process shows once a second that it lives; everything else is waited for. A sample rings the trainer, "
    "which is one more process to be scheduled, takes its steps, and publishes the weights."
)
ROUNDS = 4
_SECONDS = 10.0
_RATE, _SAMPLES = 10.0, 100


def figures() -> list[Figure]:
    """Measure after some samples have been learned from."""
    with running(80, HTTP="127.0.0.1:0") as sidecar:
        apart(lock_step, sidecar.socket, traffic.messages(2000, 80), 2, 0.5)
        sidecar.reconciled()
        time.sleep(3.0)
        idle = [_idle(sidecar) for _ in range(ROUNDS)]
        delays = [1000 * float(np.percentile(_delays(sidecar, seed), 99)) for seed in range(1, ROUNDS + 1)]
    wakeups, shares = zip(*idle, strict=True)
    setting = "80 features"
    return [
        at_most("idle, wake-ups a second, four processes", "a tick a second each", setting, wakeups, 6),
        at_most("idle, all processes", "one core", setting, shares, 1, "%"),
        at_most("sample to published weights, p99", "10 samples/s", setting, tuple(delays), 20, " ms"),
    ]


def _idle(sidecar: Sidecar) -> tuple[float, float]:
    """Return wake-ups a second, and the processor's share in percent (which counts the supervisor too)."""
    pids = sidecar.pids().values()
    switched, used, began = sum(map(_waits, pids)), sidecar.processor_seconds(), time.monotonic()
    time.sleep(_SECONDS)
    seconds = time.monotonic() - began
    wakeups = (sum(map(_waits, pids)) - switched) / seconds
    return wakeups, 100 * (sidecar.processor_seconds() - used) / seconds


def _waits(pid: int) -> int:
    """Return how often the threads of a process have given up the processor to wait."""
    texts = [(task / "status").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    lines = [line for text in texts for line in text.splitlines() if line.startswith("voluntary_ctxt_switches")]
    return sum(int(line.split()[1]) for line in lines)


def _delays(sidecar: Sidecar, seed: int) -> list[float]:
    """Return, for each sample that was not held out, the seconds from sending it to weights that have learned from it.

    A sample in a hundred milliseconds, while nothing else is sent: each wakes the trainer up.
    """
    weights, _ = regions.attach_mailbox(sidecar.settings, "weights")
    before = _published(weights)
    delays = []
    with socket.socket(socket.AF_UNIX) as node:
        node.connect(sidecar.socket)
        for line in traffic.messages(_SAMPLES, 80, seed):
            began = time.monotonic()
            node.sendall(line)
            while (now := _published(weights)).samples <= before.samples:
                time.sleep(0.0005)
            if now.step > before.step:
                delays.append(time.monotonic() - began)
            before = now
            node.recv(4096)
            time.sleep(max(0.0, began + 1 / _RATE - time.monotonic()))
    return delays


def _published(weights: Mailbox) -> TrainerSnapshot:
    letter = weights.read()
    assert letter is not None, "the trainer publishes before it waits"
    return messages.decode_snapshot(letter.payload)
