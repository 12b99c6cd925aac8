"""Memory of all processes after 100,000 samples, against bare imports of torch, onnxruntime, and numpy with msgspec.

Resident sizes are added up, so what processes share counts for each of them.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import time

from benchmarks.clients import apart, pipelined
from benchmarks.figures import Figure, at_most
from benchmarks.sidecar import Sidecar, running
from benchmarks.traffic import messages

BOUND = (
    "the imports: numpy in every process, onnx in the trainer, ONNX Runtime in the exporter; samples add the ring "
    "and the reservoirs, which have a fixed size. torch is imported only for models that are no plain perceptron."
)
ROUNDS = 3
SAMPLES = 100_000
_IMPORTS = ("import torch", "import onnxruntime", "import numpy, msgspec")
_ASLEEP = "import time; print(flush=True); time.sleep(60)"


def figures() -> list[Figure]:
    """Measure on 80 and on 6 features."""
    bare = sum(_imported(statement) for statement in _IMPORTS)
    return [figure for n_features in (80, 6) for figure in _compare(n_features, bare)]


def _compare(n_features: int, bare: float) -> list[Figure]:
    lines = messages(30_000, n_features)
    sizes = []
    with running(n_features) as sidecar:
        for _ in range(ROUNDS + 1):
            _send(sidecar, lines)
            time.sleep(1.0)
            sizes.append(sum(process.memory_info().rss for process in sidecar.processes()))
    setting = f"{n_features} features, 100,000 samples"
    first, *later = sizes
    against = "bare imports of its libraries"
    return [
        at_most("memory, all processes", against, setting, tuple(size / bare for size in sizes), 1.25).with_note(
            f"{first >> 20} MiB"
        ),
        at_most("memory after another 100,000 samples", "before", setting, _growth([first, *later]), 1.02),
    ]


def _growth(sizes: list[int]) -> tuple[float, ...]:
    return tuple(after / before for before, after in itertools.pairwise(sizes))


def _send(sidecar: Sidecar, lines: list[bytes]) -> None:
    until = sidecar.reconciled() + SAMPLES
    while sidecar.reconciled() < until:
        apart(pipelined, sidecar.socket, lines, 4, 0.5)


def _imported(statement: str) -> int:
    """Return the resident size of a process that has done nothing but import."""
    import psutil

    with subprocess.Popen([sys.executable, "-c", f"{statement}; {_ASLEEP}"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        size: int = psutil.Process(process.pid).memory_info().rss
        process.kill()
    return size
