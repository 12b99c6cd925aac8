"""Many networks of one shape, computed together: a fold each, or a seed each.

Tiny networks leave a CPU idle between small operations. Side by side in one batched product, eighteen of them
cost little more than one, and what each learns is what it would learn alone.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor


class Ensemble:
    """Fully connected ReLU networks with the same `widths` and separate weights.

    The weights are one float64 tensor [members, parameters], so that an optimizer updates all members at once.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        self.widths = tuple(widths)
        self._layers = list(pairwise(self.widths))
        self._sizes = [size for before, after in self._layers for size in (before * after, after)]

    def initial(self, seeds: Sequence[int]) -> Tensor:
        """Return float64 [members, parameters], uniform within 1/sqrt(fan_in) as torch.nn.Linear has it."""
        return torch.stack([self._initial(seed) for seed in seeds])

    def _initial(self, seed: int) -> Tensor:
        random = torch.Generator().manual_seed(seed)
        bounds = [before**-0.5 for before, _ in self._layers for _ in range(2)]
        return torch.cat(
            [
                (torch.rand(size, generator=random, dtype=torch.float64) * 2 - 1) * bound
                for size, bound in zip(self._sizes, bounds, strict=True)
            ]
        )

    def layers(self, weights: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return views ([members, in, out], [members, 1, out]) of weights [members, parameters], layer by layer."""
        parts = iter(torch.split(weights, self._sizes, dim=1))
        return [(next(parts).view(-1, before, after), next(parts).view(-1, 1, after)) for before, after in self._layers]

    def predict(self, weights: Tensor, inputs: Tensor) -> Tensor:
        """Return the outputs [members, rows] of inputs [members, rows, widths[0]]."""
        *hidden, last = self.layers(weights)
        for weight, bias in hidden:
            inputs = torch.baddbmm(bias, inputs, weight).relu()
        weight, bias = last
        return torch.baddbmm(bias, inputs, weight).squeeze(2)
