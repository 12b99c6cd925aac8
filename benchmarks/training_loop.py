"""The whole training loop (sampling, step, clipping, EMA, publishing) against the plain torch loop that does less.

The plain loop steps on one batch in memory, with torch.optim, clipping and a parameter-wise EMA; it neither samples nor
publishes. Ours composes each batch from ring and reservoir, and publishes the weights twenty times a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import nn

from benchmarks.figures import Figure, at_least
from pipeline import data
from pipeline.model.default_network import two_layer
from pipeline.model.graph import BaseModel, load_base_model
from pipeline.shm.mailbox import Mailbox
from pipeline.shm.reservoir import Reservoir
from pipeline.shm.ring import Ring
from pipeline.shm.rows import RowBatch
from pipeline.trainer.learner import Learner
from pipeline.trainer.learners import new_learner
from pipeline.trainer.memory import Memory
from pipeline.trainer.recipe import Recipe
from pipeline.trainer.torch_learner import TorchLearner

ROUNDS = 7
_SECONDS = 0.4
_PUBLISH_EVERY_S = 0.05


def figures() -> list[Figure]:
    """Measure on the networks that are given or shipped: 80-64-1 and 6-16-8-1."""
    torch.set_num_threads(1)
    fresh, shipped = BaseModel(two_layer(80), "fresh"), load_base_model(data.BASE_MODEL)
    return [*_compare("80-64-1", (80, 64, 1), fresh), *_compare("6-16-8-1", (6, 16, 8, 1), shipped)]


def _compare(setting: str, widths: Sequence[int], base: BaseModel) -> list[Figure]:
    recipe = Recipe()
    plain = _plain_loop(widths)
    fast, reference = _our_loop(base, new_learner(base, recipe)), _our_loop(base, TorchLearner(base, recipe))
    rates = [(_rate(plain), _rate(reference), _rate(fast)) for _ in range(ROUNDS)]
    against = "plain torch loop"
    return [
        at_least("training loop, torch", against, setting, tuple(torch_ / own for own, torch_, _ in rates), 1.7),
        at_least("training loop, numpy", against, setting, tuple(numpy_ / own for own, _, numpy_ in rates), 8),
    ]


def _rate(step: Callable[[], object]) -> float:
    """Return steps a second of processor time."""
    count, began = 0, time.process_time()
    while time.process_time() - began < _SECONDS:
        for _ in range(50):
            step()
        count += 50
    return count / (time.process_time() - began)


def _plain_loop(widths: Sequence[int]) -> Callable[[], object]:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    model = nn.Sequential(*layers[:-1])
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, weight_decay=1e-5)
    average = [parameter.detach().clone() for parameter in model.parameters()]
    features, score = torch.rand(32, widths[0]), torch.rand(32, 1)

    def step() -> None:
        optimizer.zero_grad()
        torch.autograd.backward(nn.functional.mse_loss(model(features), score))
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            for mean, parameter in zip(average, model.parameters(), strict=True):
                mean.mul_(0.999).add_(parameter, alpha=0.001)

    return step


def _our_loop(base: BaseModel, learner: Learner) -> Callable[[], object]:
    memory = _memory(base.n_features)
    mailbox = Mailbox(memoryview(bytearray(Mailbox.size(1 << 20))), 1 << 20)
    published = time.monotonic()

    def step() -> None:
        nonlocal published
        batch = memory.batch()
        learner.step(batch.features, batch.score)
        if time.monotonic() - published > _PUBLISH_EVERY_S:
            mailbox.publish(learner.ema().tobytes(), *(part.tobytes() for part in learner.state().values()))
            published = time.monotonic()

    return step


def _memory(n_features: int) -> Memory:
    """Return a full ring and a full reservoir."""
    rng = np.random.default_rng(0)
    ring, reservoir = Ring.private(10_000, n_features), Reservoir.private(10_000, n_features)
    reservoir.open_writer()
    features, score = rng.random((10_000, n_features), np.float32), 100 * rng.random(10_000, np.float32)
    ring.open_writer()
    for row in range(10_000):
        ring.append(0.0, row % 50 + 1, row, float(score[row]), features[row].tolist())
    rows = RowBatch(10_000, n_features)
    ring.read(0, rows)
    reservoir.restore(rows.words, 50)
    memory = Memory(ring, reservoir, 32, seed=0)
    memory.remember(np.arange(10_000))
    return memory


if __name__ == "__main__":
    for figure in figures():
        print(*figure.cells(), sep=" | ")
