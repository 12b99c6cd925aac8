"""Training several architectures one after another, with a progress bar, and going on after a stop."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from pipeline.corpus.table import Corpus
from pipeline.offline.fit import Recipe
from pipeline.offline.train import Trained, train


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

            trained[architecture] = train(
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


def _states(directory: Path, architecture: str) -> tuple[Path, Path]:
    return directory / f".{architecture}.committee.npz", directory / f".{architecture}.training.npz"
