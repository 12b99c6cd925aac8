"""From a corpus to models: for each set of left-out sources a committee, and of its students the closest to it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from torch import Tensor

from pipeline.corpus.table import Corpus
from pipeline.offline.architectures import widths
from pipeline.offline.distil import lessons
from pipeline.offline.ensemble import Ensemble, Member, members
from pipeline.offline.fit import SCALE, Fit, Recipe, fingerprint, resume, save
from pipeline.offline.trained_model import Array, Trained, mlp

_SAVE_EVERY = 5  # epochs


def train_all(
    corpus: Corpus,
    target: str,
    recipes: Mapping[str, Recipe],
    folds: Sequence[tuple[str, ...]],
    seeds: Sequence[int],
    directory: Path,
) -> dict[str, list[Trained]]:
    """Return each architecture's models, one per fold; states are kept in `directory` until `forget`."""
    trained = {}
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    ) as progress:
        for architecture, recipe in recipes.items():
            task = progress.add_task(f"{architecture}, {len(folds)} x {len(seeds)}", total=2 * recipe.epochs)

            def show(epochs: int, task: TaskID = task) -> None:
                progress.update(task, completed=epochs)

            trained[architecture] = _train(
                corpus,
                target,
                architecture,
                folds,
                seeds,
                recipe,
                _states(directory, architecture),
                show,
            )
            progress.update(task, total=progress.tasks[task].completed)
    return trained


def forget(directory: Path, architectures: Sequence[str]) -> None:
    """Remove the states: their models are written."""
    for architecture in architectures:
        for state in _states(directory, architecture):
            state.unlink(missing_ok=True)


def _train(
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


def _states(directory: Path, architecture: str) -> tuple[Path, Path]:
    return directory / f".{architecture}.committee.npz", directory / f".{architecture}.training.npz"


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
