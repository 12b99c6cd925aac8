"""Training an ensemble: Adam, a learning rate that falls, and an end when validation stops improving.

Everything is float64. In float32 the rounding of a processor's kernels grows over thousands of steps until the result
is another one; in float64 it stays near 1e-12, so that every processor ends in the same weights.

A training that was stopped goes on where it was, bit for bit: draws depend on seed and epoch alone.
"""

import hashlib
import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.corpus.table import Corpus
from pipeline.offline.ensemble import Ensemble, Member
from pipeline.runtime.durable import write_durably

SCALE = 100.0
"""Scores are divided by this while training, so that they and the gradients are of order one."""
_VALIDATION_ROWS = 4096
_SMALLEST_RATE = 0.01  # of the first; a plateau that asks for less has converged


@dataclass(frozen=True)
class Recipe:
    """How to train; the defaults were chosen for mlp_small with every source left out in turn."""

    learning_rate: float
    epochs: int = 100
    batch_size: int = 64
    weight_decay: float = 0.01
    schedule: Literal["cosine", "plateau"] = "cosine"
    patience: int = 20
    """Epochs without a better validation error, after which a member stops."""


@dataclass(frozen=True)
class Start:
    """Where a training begins: weights [members, parameters], mean and standard deviation [members, k] of features."""

    weights: Tensor
    mean: Tensor
    std: Tensor


class Adam:
    """Adam with decoupled weight decay (Kingma & Ba 2015, Loshchilov & Hutter 2019), a rate for each member."""

    def __init__(self, weights: Tensor, decay: float) -> None:
        self.decay = decay
        self.first, self.second = torch.zeros_like(weights), torch.zeros_like(weights)
        self.steps = 0

    def step(self, weights: Tensor, gradient: Tensor, rate: Tensor) -> None:
        """Update weights [members, parameters] in place; rate is [members, 1]."""
        self.steps += 1
        self.first.lerp_(gradient, 1 - 0.9)
        self.second.lerp_(gradient.square(), 1 - 0.999)
        scale = self.second.sqrt().div_((1 - 0.999**self.steps) ** 0.5).add_(1e-8)
        weights.mul_(1 - rate * self.decay)
        weights.sub_(rate / (1 - 0.9**self.steps) * self.first / scale)


class Fit:
    """The state of one training: advances an epoch at a time, keeps the best weights of each member."""

    def __init__(
        self,
        ensemble: Ensemble,
        members: Sequence[Member],
        features: npt.NDArray[np.float32],
        scores: npt.NDArray[np.float32],
        recipe: Recipe,
        begin: Start | None = None,
    ) -> None:
        """Prepare to train on features [n, k] and scores [n], which the members' rows index, from random weights.

        Or from the weights of `begin`, one row a member, with the standardisation that they were trained with.
        """
        self._ensemble, self._members, self._recipe = ensemble, members, recipe
        moments = zip(*map(_moments(features), members), strict=True)
        self.mean, self.std = (begin.mean, begin.std) if begin else (torch.stack(side) for side in moments)
        self._features, self._scores = torch.from_numpy(features), torch.from_numpy(scores).double() / SCALE
        self._watched = self._draw([member.validation for member in members], 0, _VALIDATION_ROWS)
        self._steps = max(1, max(len(member.training) for member in members) // recipe.batch_size)
        self.weights = begin.weights.clone() if begin else ensemble.initial([member.seed for member in members])
        self.best = self.weights.clone()
        self.error = torch.full((len(members),), torch.inf, dtype=torch.float64)
        self.waited = torch.zeros(len(members))
        self.rate = torch.full((len(members), 1), recipe.learning_rate, dtype=torch.float64)
        self.adam = Adam(self.weights, recipe.weight_decay)
        self.epoch = 0

    @property
    def done(self) -> bool:
        """Whether every epoch has run or no member is improving any more."""
        return self.epoch >= self._recipe.epochs or bool((self.waited >= self._recipe.patience).all())

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors that make up the state, by name; writing into them restores it."""
        own = {name: getattr(self, name) for name in ("weights", "best", "error", "waited", "rate")}
        return {**own, "first": self.adam.first, "second": self.adam.second}

    def predict(self, members: slice, features: Tensor) -> Tensor:
        """Return float64 [members, n]: the scores / SCALE that some members' best weights give to features [n, k]."""
        inputs = (features - self.mean[members, None]) / self.std[members, None]
        return self._ensemble.predict(self.best[members], inputs)

    def run(self, on_epoch: Callable[["Fit"], None]) -> None:
        """Train to the end; `on_epoch` is called after each epoch."""
        while not self.done:
            self._train()
            self._validate()
            self.epoch += 1
            on_epoch(self)

    def _train(self) -> None:
        rows = self._draw(
            [member.training for member in self._members], 1 + self.epoch, self._steps * self._recipe.batch_size
        )
        for i, batch in enumerate(torch.split(rows, self._recipe.batch_size, dim=1)):
            weights = self.weights.requires_grad_()
            loss = self._error(weights, batch).sum()
            (gradient,) = torch.autograd.grad(loss, weights)
            with torch.no_grad():
                self.adam.step(weights.detach(), gradient, self.rate * self._fall(i / self._steps))

    def _fall(self, progress: float) -> float:
        """Return the factor of the learning rate at `progress` (0 to 1) of the current epoch."""
        if self._recipe.schedule == "plateau":
            return 1.0
        return 0.5 + 0.5 * float(np.cos(np.pi * (self.epoch + progress) / self._recipe.epochs))

    @torch.no_grad()
    def _validate(self) -> None:
        error = self._error(self.weights, self._watched)
        better = error < self.error
        self.best[better], self.error[better] = self.weights[better], error[better]
        self.waited.add_(1).masked_fill_(better, 0)
        if self._recipe.schedule == "plateau":
            stuck = (self.waited > 0) & (self.waited % max(1, self._recipe.patience // 4) == 0)
            self.rate[stuck] = (self.rate[stuck] / 2).clamp(min=_SMALLEST_RATE * self._recipe.learning_rate)

    def _error(self, weights: Tensor, rows: Tensor) -> Tensor:
        """Return the mean squared error [members] on rows [members, k]."""
        inputs = (self._features[rows] - self.mean[:, None]) / self.std[:, None]
        return (self._ensemble.predict(weights, inputs) - self._scores[rows]).square().mean(1)

    def _draw(self, rows: Sequence[npt.NDArray[np.int64]], epoch: int, n: int) -> Tensor:
        """Return int64 [members, n]: each member's rows shuffled, by its seed and the epoch, repeated as needed."""
        seeds = (np.random.default_rng((member.seed, epoch)) for member in self._members)
        drawn = [np.resize(random.permutation(own), n) for random, own in zip(seeds, rows, strict=True)]
        return torch.from_numpy(np.stack(drawn))


def _moments(features: npt.NDArray[np.float32]) -> Callable[[Member], tuple[Tensor, Tensor]]:
    """Return a function from a member to mean and standard deviation [k] of its training rows."""

    def moments(member: Member) -> tuple[Tensor, Tensor]:
        own = features[member.training].astype(np.float64)
        std = own.std(axis=0)
        std[std == 0] = 1
        return torch.from_numpy(own.mean(axis=0)), torch.from_numpy(std)

    return moments


def fingerprint(corpus: Corpus, target: str, members: list[Member], recipe: Recipe, widths: tuple[int, ...]) -> str:
    """Return a digest of all that decides what a training ends in."""
    told = [widths, target, recipe, [(member.seed, member.left_out) for member in members]]
    digest = hashlib.sha256(msgspec.json.encode(told))
    for array in (corpus.features, corpus.target(target), corpus.clip):
        digest.update(array.tobytes())
    return digest.hexdigest()


def save(fit: Fit, path: Path, fingerprint: str) -> None:
    """Write the state of `fit`, durably."""
    file = io.BytesIO()
    arrays: dict[str, Any] = {name: tensor.detach().numpy() for name, tensor in fit.tensors().items()}
    np.savez(file, fingerprint=np.array(fingerprint), epoch=fit.epoch, steps=fit.adam.steps, **arrays)
    write_durably(path, file.getvalue())


def resume(fit: Fit, path: Path, fingerprint: str) -> bool:
    """Take over the state at `path`; False where there is none, or it is of another training."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as saved:
            if str(saved["fingerprint"]) != fingerprint:
                return False
            for name, tensor in fit.tensors().items():
                tensor.detach().copy_(torch.from_numpy(saved[name]))
            fit.epoch, fit.adam.steps = int(saved["epoch"]), int(saved["steps"])
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        return False
    return True
