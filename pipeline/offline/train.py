"""From a corpus to models: for each set of left-out sources a committee, and of its students the closest to it."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from torch import Tensor

from pipeline.corpus.table import TARGETS, Corpus
from pipeline.offline.architectures import widths
from pipeline.offline.distil import lessons
from pipeline.offline.ensemble import Ensemble, Member, members
from pipeline.offline.fit import SCALE, Fit, Recipe, Start, fingerprint, resume, save
from pipeline.offline.trained_model import Array, Trained, mlp

_SAVE_EVERY = 5  # epochs
_TUNING_RATE = 0.1  # of the learning rate: weights that know most of it already are to move little


def train_all(
    corpus: Corpus,
    target: str,
    recipes: Mapping[str, Recipe],
    folds: Sequence[tuple[str, ...]],
    seeds: Sequence[int],
    directory: Path,
    then: str = "",
) -> dict[str, list[Trained]]:
    """Return each architecture's models, one per fold; states are kept in `directory` until `forget`.

    Each learns the scores of `target`; with `then` it learns the scores of that name after them, where they are known.
    """
    trained = {}
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    ) as progress:
        for architecture, recipe in recipes.items():
            stages = 3 if then else 2
            task = progress.add_task(f"{architecture}, {len(folds)} x {len(seeds)}", total=stages * recipe.epochs)

            def show(epochs: int, task: TaskID = task) -> None:
                progress.update(task, completed=epochs)

            training = _Training(architecture, recipe, directory, show)
            fits = training.distilled(corpus.with_score(target), target, folds, seeds)
            if then:
                fits = training.tuned(corpus.with_score(then), then, fits)
            trained[architecture] = [each.trained(then or target) for each in fits]
            progress.update(task, total=progress.tasks[task].completed)
    return trained


def forget(directory: Path, architectures: Sequence[str]) -> None:
    """Remove the states: their models are written."""
    for architecture in architectures:
        for state in _states(directory, architecture):
            state.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Fitted:
    """The network of one fold: the member of a fit that was closest to what it learned from."""

    fit: Fit
    ensemble: Ensemble
    member: Member
    index: int

    def start(self) -> Start:
        """Return its weights and its standardisation, to begin another training with."""
        one = slice(self.index, self.index + 1)
        return Start(self.fit.best[one], self.fit.mean[one], self.fit.std[one])

    def trained(self, target: str) -> Trained:
        """Return the finished model, whose output is called after a score of libvmaf, or `score`."""
        *hidden, (weight, bias) = self.ensemble.layers(self.fit.best[self.index : self.index + 1])
        layers = [(_array(w[0]), _array(b[0, 0])) for w, b in [*hidden, (weight * SCALE, bias * SCALE)]]
        mean, std = _array(self.fit.mean[self.index]), _array(self.fit.std[self.index])
        rmse = float(self.fit.error[self.index].sqrt()) * SCALE
        model = mlp(layers, mean, std, target if target in TARGETS else "score")
        return Trained(self.member.seed, self.member.left_out, rmse, mean, std, model)


class _Training:
    """All stages of one architecture. Torch is held to one thread: the networks are too small for more.

    The state of each stage is kept, so that the same call goes on where a stopped one was. `on_epoch` is told how many
    epochs have run, of all stages together.
    """

    def __init__(self, architecture: str, recipe: Recipe, directory: Path, on_epoch: Callable[[int], None]) -> None:
        torch.set_num_threads(1)
        self._architecture, self._recipe, self._on_epoch = architecture, recipe, on_epoch
        self._states = _states(directory, architecture)

    def distilled(
        self, corpus: Corpus, target: str, folds: Sequence[tuple[str, ...]], seeds: Sequence[int]
    ) -> list[_Fitted]:
        """Train a committee per fold, then its students; return the student closest to its committee of each.

        A committee has one network per seed, which learn from the rows. Its students, fewer, learn what it says.
        """
        ensemble = Ensemble(widths(self._architecture, len(corpus.names)))
        everyone = members(corpus, folds, seeds)
        mark = fingerprint(corpus, target, everyone, self._recipe, ensemble.widths)
        committee = Fit(ensemble, everyone, corpus.features, corpus.target(target), self._recipe)
        self._run(committee, 0, mark)
        taught = lessons(committee, everyone, corpus.features, len(seeds))
        students = Fit(ensemble, taught.students, taught.features, taught.scores, self._recipe)
        self._run(students, 1, mark)
        folded = range(0, len(taught.students), taught.a_fold)
        closest = [first + int(students.error[first : first + taught.a_fold].argmin()) for first in folded]
        return [_Fitted(students, ensemble, taught.students[i], i) for i in closest]

    def tuned(self, corpus: Corpus, target: str, fitted: Sequence[_Fitted]) -> list[_Fitted]:
        """Go on from the networks of all folds with the scores of `target`, at a tenth of the learning rate."""
        recipe = replace(self._recipe, learning_rate=_TUNING_RATE * self._recipe.learning_rate)
        everyone = [_member(corpus, each.member) for each in fitted]
        starts = [each.start() for each in fitted]
        begin = Start(*(torch.cat([getattr(start, name) for start in starts]) for name in ("weights", "mean", "std")))
        ensemble = fitted[0].ensemble
        fit = Fit(ensemble, everyone, corpus.features, corpus.target(target), recipe, begin)
        begun_with = hashlib.sha256(begin.weights.numpy().tobytes()).hexdigest()
        self._run(fit, 2, fingerprint(corpus, target, everyone, recipe, ensemble.widths) + begun_with)
        return [_Fitted(fit, ensemble, member, i) for i, member in enumerate(everyone)]

    def _run(self, fit: Fit, stage: int, mark: str) -> None:
        state, before = self._states[stage], stage * self._recipe.epochs
        resume(fit, state, mark)

        def after_epoch(fit: Fit) -> None:
            self._on_epoch(before + fit.epoch)
            if fit.done or fit.epoch % _SAVE_EVERY == 0:
                save(fit, state, mark)

        self._on_epoch(before + fit.epoch)
        fit.run(after_epoch)


def _member(corpus: Corpus, like: Member) -> Member:
    """Return the member for other rows: of the sources that it leaves out, these may have none."""
    there = tuple(source for source in like.left_out if source in corpus.source)
    return replace(members(corpus, [there], [like.seed])[0], left_out=like.left_out)


def _states(directory: Path, architecture: str) -> tuple[Path, ...]:
    return tuple(directory / f".{architecture}.{stage}.npz" for stage in ("committee", "training", "tuning"))


def _array(tensor: Tensor) -> Array:
    array: Array = tensor.detach().float().numpy().copy()
    return array
