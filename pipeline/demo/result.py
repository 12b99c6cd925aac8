"""What the demo ends with: every checkpoint against the base model, as a table and as a plot."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from pipeline.checkpoints import checkpoint
from pipeline.checkpoints.names import file_of, published
from pipeline.demo.judge import Figures
from pipeline.model.runtime import OnnxModel
from pipeline.model.verify import verify

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pipeline.demo.judge import Judge


@dataclass(frozen=True)
class Judged:
    """A model on the sources that were never sent; ``seconds`` counts from the start of the stream."""

    path: Path
    figures: Figures
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
    for heading in ("samples", "step", "state", "RMSE", "PLCC", "SROCC"):
        columns.add_column(heading, justify="right")
    for model in judged:
        figures = model.figures
        columns.add_row(
            escape(model.path.stem),
            f"{model.samples:,}",
            f"{model.step:,}",
            model.state,
            f"{figures.rmse:.2f}",
            f"{figures.plcc:.4f}",
            f"{figures.srocc:.4f}",
        )
    return columns


def plot(judged: Sequence[Judged], target: str, path: Path) -> None:
    """Write a PNG with the three figures over time, the base model's as a line across."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"{target} on sources that were never sent")
    base, *checkpoints = judged
    for axes, field in zip(figure.subplots(1, 3), fields(Figures), strict=True):
        axes.axhline(getattr(base.figures, field.name), color="tab:gray", linestyle="--", label="base model")
        seconds = [model.seconds for model in checkpoints]
        axes.plot(seconds, [getattr(m.figures, field.name) for m in checkpoints], marker="o", label="checkpoints")
        axes.set_title(field.name.upper())
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
    found, wanted = last.figures.rmse, base.figures.rmse
    if not found < wanted:
        return f"{last.path.name} is not better than the base model: RMSE {found:.2f}, not under {wanted:.2f}"
    return ""
