"""The whole training loop (sampling, step, clipping, EMA, publishing) against the plain torch loop that does less.

The plain loop steps on one batch in memory, with torch.optim, clipping and a parameter-wise EMA; it neither samples nor
publishes. Ours composes each batch from ring and reservoir, and publishes the weights twenty times a second; of the
learners that train side by side it has one, as the plain loop has one network.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import nn

from benchmarks.figures import Figure, at_least
from benchmarks.our_loop import our_loop
from pipeline import data
from pipeline.model.default_network import two_layer
from pipeline.model.graph import BaseModel, load_base_model
from pipeline.trainer.learners import new_learner
from pipeline.trainer.recipe import Recipe
from pipeline.trainer.torch_learner import TorchLearner

BOUND = (
    "calls, not arithmetic: numpy needs fewer and cheaper ones than torch with its autograd and its optimizer. At "
    "80-64-1 arithmetic is a third of the numpy loop; sampling is a seventh of it, publishing under a fiftieth."
)
ROUNDS = 7
_SECONDS = 0.4


def figures() -> list[Figure]:
    """Measure on the networks that are given or shipped, 80-64-1 and 6-16-8-1."""
    torch.set_num_threads(1)
    fresh, shipped = BaseModel(two_layer(80), "fresh"), load_base_model(data.BASE_MODEL)
    networks = (((80, 64, 1), fresh), ((6, 16, 8, 1), shipped))
    return [figure for widths, base in networks for figure in _compare(widths, base)]


def _compare(widths: Sequence[int], base: BaseModel) -> list[Figure]:
    recipe = Recipe(rival_priors=())
    plain = plain_loop(widths, "cpu")
    fast, reference = our_loop(base, new_learner(base, recipe)), our_loop(base, TorchLearner(base, recipe))
    rates = [[_rate(loop, time.process_time) for loop in (plain, reference, fast)] for _ in range(ROUNDS)]
    against, setting = "plain torch loop", _name(widths)
    return [
        at_least("training loop, torch", against, setting, tuple(torch_ / own for own, torch_, _ in rates), 1.7),
        at_least("training loop, numpy", against, setting, tuple(numpy_ / own for own, _, numpy_ in rates), 8),
    ]


def _name(widths: Sequence[int]) -> str:
    return "-".join(map(str, widths))


def _rate(step: Callable[[], object], clock: Callable[[], float]) -> float:
    """Return steps a second by `clock`."""
    count, began = 0, clock()
    while clock() - began < _SECONDS:
        for _ in range(50):
            step()
        count += 50
    return count / (clock() - began)


def plain_loop(widths: Sequence[int], device: str, batch_size: int = 32) -> Callable[[], object]:
    """Return the action that is one step of the plain loop."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    model = nn.Sequential(*layers[:-1]).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, weight_decay=1e-5)
    average = [parameter.detach().clone() for parameter in model.parameters()]
    features, score = torch.rand(batch_size, widths[0], device=device), torch.rand(batch_size, 1, device=device)

    def step() -> None:
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(features), score)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            for mean, parameter in zip(average, model.parameters(), strict=True):
                mean.mul_(0.999).add_(parameter, alpha=0.001)
        loss.item()

    return step
