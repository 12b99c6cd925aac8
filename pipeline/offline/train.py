"""From a corpus to models: for each set of left-out sources a committee, and of its students the closest to it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from onnx import ModelProto
from torch import Tensor

from pipeline.corpus.table import Corpus
from pipeline.model.runtime import OnnxModel
from pipeline.offline.architectures import widths
from pipeline.offline.distil import lessons
from pipeline.offline.ensemble import Ensemble
from pipeline.offline.fit import SCALE, Fit, Recipe
from pipeline.offline.folds import Member, members
from pipeline.offline.graph import Array, mlp
from pipeline.offline.state import fingerprint, resume, save

_SAVE_EVERY = 5  # epochs


@dataclass(frozen=True)
class Trained:
    """One finished model."""

    seed: int
    left_out: tuple[str, ...]
    committee_rmse: float
    """How far it is from its committee, on rows and mixtures of rows, in points of the score."""
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
    seeds: Sequence[int],
    recipe: Recipe,
    states: tuple[Path, Path],
    on_epoch: Callable[[int], None],
) -> list[Trained]:
    """Train one model per fold: a committee, then its students; the student closest to its committee is the model.

    A committee has one network per seed, which learn from the rows. Its students, fewer, learn what it says.
    The states of both are kept at `states`, so that the same call goes on where a stopped one was. `on_epoch` is
    told how many epochs have run, of twice `recipe.epochs`. Torch is held to one thread: the networks are too small
    for more.
    """
    torch.set_num_threads(1)
    ensemble, everyone = Ensemble(widths(architecture)), members(corpus, folds, seeds)
    mark = fingerprint(corpus, target, everyone, recipe, ensemble.widths)
    committee = Fit(ensemble, everyone, corpus.features, corpus.target(target), recipe)
    _run(committee, states[0], mark, on_epoch)
    taught = lessons(committee, everyone, corpus.features, len(seeds))
    students = Fit(ensemble, taught.students, taught.features, taught.scores, recipe)
    _run(students, states[1], mark, lambda epoch: on_epoch(recipe.epochs + epoch))
    folded = range(0, len(taught.students), taught.a_fold)
    closest = (first + int(students.error[first : first + taught.a_fold].argmin()) for first in folded)
    return [_trained(ensemble, students, taught.students[i], i, target) for i in closest]


def _run(fit: Fit, state: Path, mark: str, on_epoch: Callable[[int], None]) -> None:
    resume(fit, state, mark)

    def after_epoch(fit: Fit) -> None:
        on_epoch(fit.epoch)
        if fit.done or fit.epoch % _SAVE_EVERY == 0:
            save(fit, state, mark)

    on_epoch(fit.epoch)
    fit.run(after_epoch)


def _trained(ensemble: Ensemble, fit: Fit, member: Member, index: int, target: str) -> Trained:
    *hidden, (weight, bias) = ensemble.layers(fit.best[index : index + 1])
    layers = [(_array(w[0]), _array(b[0, 0])) for w, b in [*hidden, (weight * SCALE, bias * SCALE)]]
    mean, std = _array(fit.mean[index]), _array(fit.std[index])
    rmse = float(fit.error[index].sqrt()) * SCALE
    return Trained(member.seed, member.left_out, rmse, mean, std, mlp(layers, mean, std, target))


def _array(tensor: Tensor) -> Array:
    array: Array = tensor.detach().float().numpy().copy()
    return array
