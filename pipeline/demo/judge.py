"""How good models are on sources that were never sent, and what the demo shows of that in the end: a table, a plot."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

import numpy as np
from rich.markup import escape
from rich.table import Table

from pipeline.checkpoints import checkpoint
from pipeline.checkpoints.names import file_of, published
from pipeline.model.accuracy import agreement
from pipeline.model.runtime import OnnxModel
from pipeline.model.verify import verify

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from pipeline.corpus.table import Corpus


HEADINGS = {"rmse": "RMSE", "plcc": "PLCC", "srocc": "SROCC", "srocc_under_99": "SROCC under 99"}


class Model(Protocol):
    """What can be judged."""

    def predict(self, features: npt.NDArray[np.float32], /) -> npt.NDArray[np.float32]:
        """Return the scores float32[n] of features float32[n, n_features]."""
        ...


class Judge:
    """The rows of a corpus that judge, with their scores of one target."""

    def __init__(self, corpus: Corpus, target: str) -> None:
        self._features = np.ascontiguousarray(corpus.features)
        self._scores = corpus.target(target)

    def figures(self, model: Model) -> dict[str, float]:
        """Return the `agreement` of ``model`` with the true scores of these rows."""
        return agreement(model.predict(self._features), self._scores, HEADINGS)


@dataclass(frozen=True)
class Judged:
    """A model on the sources that were never sent; ``seconds`` counts from the start of the stream."""

    path: Path
    figures: Mapping[str, float]
    state: str = ""
    step: int = 0
    samples: int = 0
    seconds: float = 0.0


def judge_all(base_model: Path, directory: Path, judge: Judge, began: float) -> list[Judged]:
    """Judge the base model and, oldest first, every checkpoint; ``began`` is in Unix seconds."""
    versions = published(directory)
    return [
        Judged(base_model, judge.figures(OnnxModel(base_model))),
        *(_judged(directory, version, judge, began) for version in versions),
    ]


def _judged(directory: Path, version: int, judge: Judge, began: float) -> Judged:
    path, known = file_of(directory, version), checkpoint.read(directory, version)
    return Judged(
        path=path,
        figures=judge.figures(OnnxModel(path)),
        state=known.state,
        step=known.step,
        samples=known.samples,
        seconds=datetime.fromisoformat(known.created).timestamp() - began,
    )


def table(judged: Sequence[Judged], target: str) -> Table:
    """Return one row a model, the base model first."""
    columns = Table(title=f"{escape(target)} on sources that were never sent")
    columns.add_column("model")
    for heading in ("samples", "step", "state", *HEADINGS.values()):
        columns.add_column(heading, justify="right")
    for model in judged:
        figures = model.figures
        columns.add_row(
            escape(model.path.stem),
            f"{model.samples:,}",
            f"{model.step:,}",
            model.state,
            f"{figures['rmse']:.2f}",
            f"{figures['plcc']:.4f}",
            f"{figures['srocc']:.4f}",
            f"{figures['srocc_under_99']:.4f}",
        )
    return columns


def plot(judged: Sequence[Judged], target: str, path: Path) -> None:
    """Write a PNG with the figures over time, the base model's as a line across."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"{target} on sources that were never sent")
    base, *checkpoints = judged
    for axes, (name, of_base) in zip(figure.subplots(1, len(HEADINGS)), base.figures.items(), strict=True):
        axes.axhline(of_base, color="tab:gray", linestyle="--", label="base model")
        seconds = [model.seconds for model in checkpoints]
        axes.plot(seconds, [model.figures[name] for model in checkpoints], marker="o", label="checkpoints")
        axes.set_title(HEADINGS[name])
        axes.set_xlabel("seconds of stream")
        axes.set_xlim(left=0)
        axes.legend()
    figure.savefig(path, dpi=120)


def failure(judged: Sequence[Judged]) -> str:
    """Return why the last checkpoint is not what was promised; empty where it verifies and beats the base model."""
    base, *checkpoints = judged
    if not checkpoints:
        return "no checkpoint was published"
    last = checkpoints[-1]
    for check in verify(last.path):
        if not check.passed:
            return f"{last.path.name} does not verify: {check.name}: {check.detail}"
    found, wanted = last.figures["rmse"], base.figures["rmse"]
    if not found < wanted:
        return f"{last.path.name} is not better than the base model: RMSE {found:.2f}, not under {wanted:.2f}"
    return ""
