"""CUDA: its tests, and its speed with the replayed rows there, against the processor: `python -m benchmarks.cuda`.

A turn of our loop on CUDA is what the trainer does for new rows: they go into ring, reservoir and device, and a step
for each of them follows. Rates are steps a second by the clock, with the weights published twenty times a second. Where
there is no CUDA device it says so and ends with code 77: nothing was checked.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import click
import numpy as np
import torch

from benchmarks import report
from benchmarks.figures import Figure, short
from benchmarks.our_loop import ROWS, lesson_loop, our_loop
from benchmarks.training_loop import plain_loop
from pipeline.model.default_network import two_layer
from pipeline.model.graph import BaseModel
from pipeline.offline.trained_model import mlp
from pipeline.shm.ring import SPARE_SLOTS
from pipeline.trainer.device_learner import DeviceLearner
from pipeline.trainer.learners import new_learner
from pipeline.trainer.recipe import Recipe
from pipeline.trainer.torch_learner import TorchLearner

NOTHING_CHECKED = 77
"""Exit code where there is no device; what test runners take for "skipped"."""

NETWORKS = ((80, 64, 1), (6, 64, 32, 16, 1), (80, 4096, 1))
BATCH_SIZES = (32, 1024)
ROUNDS = 5
_SECONDS = 1.0
_TESTS = ("-m", "pytest", "-m", "gpu", "--noconftest", "-rs", "tests/trainer/test_cuda.py")


class _Loop(NamedTuple):
    turn: Callable[[], object]
    steps: int


@click.command(epilog="Example: python -m benchmarks.cuda")
def main() -> None:
    """Run the tests that need a CUDA device, then measure, print a table and renew that in docs/benchmarks.md.

    It needs numpy, onnx, onnxruntime, click, xxhash, pytest and a CUDA build of torch, and takes a few minutes.
    """
    if not torch.cuda.is_available():
        click.echo(f"no CUDA device: nothing was checked (torch {torch.__version__})")
        sys.exit(NOTHING_CHECKED)
    tested = subprocess.run([sys.executable, *_TESTS], check=False).returncode
    if tested:
        sys.exit(tested)
    torch.set_num_threads(1)
    figures: list[Figure] = []
    report.print_headings()
    for widths in NETWORKS:
        for batch_size in BATCH_SIZES:
            rows = compare(widths, batch_size, "cuda")
            report.print_rows(rows)
            figures += rows
    where = f"On {torch.cuda.get_device_name()}, torch {torch.__version__}."
    report.replace_section("cuda", "\n".join([report.machine("make gpu-check"), where, "", *report.table(figures)]))


def compare(widths: Sequence[int], batch_size: int, device: str, seconds: float = _SECONDS) -> list[Figure]:
    """Measure our loop on `device` against three others, in turn."""
    base, recipe = _network(widths), replace(Recipe(), batch_size=batch_size)
    ours = DeviceLearner(base, recipe, device, 2 * ROWS + SPARE_SLOTS)
    numpy_learner, torch_learner = new_learner(base, recipe), TorchLearner(base, recipe)
    loops = {
        "ours": _Loop(lesson_loop(base, ours, recipe), recipe.new_rows),
        f"plain torch loop on {device}": _Loop(plain_loop(widths, device, batch_size), 1),
        "torch on the processor": _Loop(our_loop(base, torch_learner, batch_size), 1),
        "numpy on the processor": _Loop(our_loop(base, numpy_learner, batch_size), 1),
    }
    for loop in loops.values():
        loop.turn()
    rates = [{name: _rate(loop, seconds) for name, loop in loops.items()} for _ in range(ROUNDS)]
    setting = f"{'-'.join(map(str, widths))}, batch {batch_size}"
    note = f"{short(statistics.median(rate['ours'] for rate in rates))} steps/s"
    return [
        Figure(
            f"training loop on {device}",
            name,
            setting,
            tuple(rate["ours"] / rate[name] for rate in rates),
            goal=1 if name.endswith(device) else None,
            note=note,
        )
        for name in loops
        if name != "ours"
    ]


def _rate(loop: _Loop, seconds: float) -> float:
    """Return steps a second by the clock. Each turn ends with a look at what it did: nothing is left under way."""
    steps, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        loop.turn()
        steps += loop.steps
    return steps / (time.perf_counter() - began)


def _network(widths: Sequence[int]) -> BaseModel:
    """Return a network with a hidden layer, or one like those that `vmafx-sidecar train` makes."""
    name = "-".join(map(str, widths))
    if len(widths) == 3:
        return BaseModel(two_layer(widths[0], widths[1]), name)
    rng = np.random.default_rng(0)
    layers = [
        ((rng.standard_normal((inputs, outputs)) / np.sqrt(inputs)).astype(np.float32), np.zeros(outputs, np.float32))
        for inputs, outputs in pairwise(widths)
    ]
    mean, std = np.full(widths[0], 0.5, np.float32), np.full(widths[0], 0.3, np.float32)
    return BaseModel(mlp(layers, mean, std, "score"), name)


if __name__ == "__main__":
    main()
