"""What exports take of the trainer: its step times with an export every second, against those without.

The trainer's loop runs here, at full speed: batches from memory, steps, and snapshots of its weights published twenty
times a second. The exports are made by another process, from those snapshots, as the exporter makes them.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np

from benchmarks.export import publishing
from benchmarks.figures import Figure, at_most
from benchmarks.our_loop import our_loop
from pipeline.model.default_network import two_layer
from pipeline.model.graph import BaseModel
from pipeline.trainer.learners import new_learner
from pipeline.trainer.recipe import Recipe

BOUND = (
    "nothing of ours: the trainer writes its snapshots whether or not somebody reads them, and never waits for a "
    "reader. What is left is the share that two busy processes have in caches and cores."
)
ROUNDS = 5
_SECONDS = 3.0


def figures() -> list[Figure]:
    """Measure on 80 and on 6 features."""
    return [figure for n_features in (80, 6) for figure in _compare(n_features)]


def _compare(n_features: int) -> list[Figure]:
    base = BaseModel(two_layer(n_features), "fresh")
    step = our_loop(base, new_learner(base, Recipe()))
    context = multiprocessing.get_context("spawn")
    exporting, ended = context.Event(), context.Event()
    exporter = context.Process(target=_export, args=(n_features, exporting, ended))
    exporter.start()
    try:
        rounds = [_round(step, exporting) for _ in range(ROUNDS)]
    finally:
        ended.set()
        exporter.join()
    setting = f"{n_features}-64-1, an export a second"
    return [
        at_most(f"step time, {name}, with exports", "without", setting, tuple(a[i] / b[i] for a, b in rounds), 1.1)
        for i, name in enumerate(("median", "p99"))
    ]


def _round(step: Callable[[], object], exporting: Event) -> tuple[tuple[float, float], tuple[float, float]]:
    exporting.set()
    with_exports = _times(step)
    exporting.clear()
    return with_exports, _times(step)


def _times(step: Callable[[], object]) -> tuple[float, float]:
    """Return the median and the 99th percentile of the times between steps."""
    ends: list[float] = []
    until = time.perf_counter() + _SECONDS
    while not ends or ends[-1] < until:
        step()
        ends.append(time.perf_counter())
    median, p99 = np.percentile(np.diff(ends), (50, 99))
    return float(median), float(p99)


def _export(n_features: int, exporting: Event, ended: Event) -> None:
    """Export once a second while `exporting` is set."""
    with tempfile.TemporaryDirectory(prefix="vmafx-bench-") as directory:
        publish = publishing(Path(directory), n_features, 64)
        while not ended.wait(1.0):
            if exporting.is_set():
                publish()
