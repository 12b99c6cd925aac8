"""Many networks of one shape, computed together: who learns from which rows, and what each computes.

Tiny networks leave a CPU idle between small operations. Side by side in one batched product, eighteen of them
cost little more than one, and what each learns is what it would learn alone.

Whole sources are left out, and whole clips of the others watch for over-fitting.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.corpus.table import Corpus, CorpusError

VALIDATION_SHARE = 0.1
"""Share of the clips of the training sources that decides when to stop."""


@dataclass(frozen=True)
class Member:
    """One network to train: its seed, its rows, and the sources that it never sees."""

    seed: int
    left_out: tuple[str, ...]
    training: npt.NDArray[np.int64]
    """Rows to learn from."""
    validation: npt.NDArray[np.int64]
    """Rows of other clips of the same sources."""


def members(corpus: Corpus, folds: Sequence[tuple[str, ...]], seeds: Sequence[int]) -> list[Member]:
    """Return one member per fold (the sources that it leaves out) and seed, the seeds of a fold together."""
    return [_member(corpus, left_out, seed) for left_out in folds for seed in seeds]


def _member(corpus: Corpus, left_out: tuple[str, ...], seed: int) -> Member:
    seen = ~corpus.mask_of(left_out)
    clips = np.unique(corpus.clip[seen])
    if len(clips) < 2:
        without = f" without {', '.join(left_out)}" if left_out else ""
        raise CorpusError(f"{len(clips)} clips to learn from{without}; at least 2 are needed, one to validate by")
    n_validation = max(1, round(VALIDATION_SHARE * len(clips)))
    watched = np.isin(corpus.clip, np.random.default_rng(seed).permutation(clips)[:n_validation])
    return Member(seed, left_out, np.flatnonzero(seen & ~watched), np.flatnonzero(seen & watched))


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
