"""From a corpus to models: a fold for each set of left-out sources, the best seed of each fold kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from onnx import ModelProto
from torch import Tensor

from pipeline.corpus.table import Corpus
from pipeline.model.runtime import OnnxModel
from pipeline.offline.architectures import widths
from pipeline.offline.ensemble import Ensemble
from pipeline.offline.fit import SCALE, Fit, Recipe
from pipeline.offline.folds import Member, members
from pipeline.offline.graph import Array, mlp
from pipeline.offline.state import fingerprint, resume, save

_SAVE_EVERY = 5  # epochs


@dataclass(frozen=True)
class Trained:
    """One finished model."""

    member: Member
    validation_rmse: float
    mean: Array
    std: Array
    model: ModelProto

    def runtime(self) -> OnnxModel:
        """Return the model as its consumers run it."""
        return OnnxModel(self.model.SerializeToString())


def train(
    corpus: Corpus,
    target: str,
    architecture: str,
    folds: Sequence[tuple[str, ...]],
    seeds: int,
    recipe: Recipe,
    state: Path,
    on_epoch: Callable[[int], None],
) -> list[Trained]:
    """Train one model per fold: of `seeds` networks, the one with the lowest validation error.

    The state is kept at `state`, so that the same call goes on where a stopped one was. `on_epoch` is told how
    many epochs have run. Torch is held to one thread: the networks are too small for more.
    """
    torch.set_num_threads(1)
    ensemble, everyone = Ensemble(widths(architecture)), members(corpus, folds, seeds)
    fit = Fit(ensemble, everyone, corpus.features, corpus.target(target), recipe)
    mark = fingerprint(corpus, target, everyone, recipe, ensemble.widths)
    resume(fit, state, mark)

    def after_epoch(fit: Fit) -> None:
        on_epoch(fit.epoch)
        if fit.done or fit.epoch % _SAVE_EVERY == 0:
            save(fit, state, mark)

    on_epoch(fit.epoch)
    fit.run(after_epoch)
    best = (first + int(fit.error[first : first + seeds].argmin()) for first in range(0, len(everyone), seeds))
    return [_trained(ensemble, fit, everyone[i], i, target) for i in best]


def _trained(ensemble: Ensemble, fit: Fit, member: Member, index: int, target: str) -> Trained:
    layers = [(_array(weight), _array(bias)) for weight, bias in ensemble.layers(fit.best[index : index + 1])]
    layers[-1] = (layers[-1][0] * np.float32(SCALE), layers[-1][1] * np.float32(SCALE))
    mean, std = _array(fit.mean[index]), _array(fit.std[index])
    rmse = float(fit.error[index].sqrt()) * SCALE
    flat = [(weight, bias.reshape(-1)) for weight, bias in layers]
    return Trained(member, rmse, mean, std, mlp(flat, mean, std, target))


def _array(tensor: Tensor) -> Array:
    """Return a copy without the axes of length one that stand before a layer's own."""
    array: Array = tensor.detach().numpy().copy()
    return array[0] if array.ndim == 3 else array
