"""What the fleet's demo shows in the end: who has learned how much of sources that nobody sent; a table, a plot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from rich.markup import escape
from rich.table import Table

from pipeline.demo.alone import Learned
from pipeline.demo.fleet import node_name
from pipeline.demo.judge import HEADINGS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pipeline.demo.fleet import Played


@dataclass(frozen=True)
class Result:
    """Figures of the base model, and in turn of the models of each.

    `sources` are those of each node, `judges` those that nobody sent.
    """

    target: str
    base: Mapping[str, float]
    alone: Sequence[Sequence[Learned]]
    played: Played
    sources: Sequence[Sequence[str]]
    judges: Sequence[str]

    @property
    def judged(self) -> list[tuple[str, str, Learned]]:
        """Kind (base, alone, pool, with), name and last model of each; the base model where nothing was let pass."""
        nothing = Learned(0, self.base)
        rows = [("base", "base model", nothing)]
        for number, each in enumerate(self.alone):
            rows.append(("alone", f"{node_name(number)} alone", each[-1]))
        rows.append(("pool", "pool", self.played.pool[-1] if self.played.pool else nothing))
        for number, each in enumerate(self.played.sidecars):
            rows.append(("with", f"{node_name(number)} with the pool", each[-1] if each else nothing))
        return rows

    def mean_rmse(self, kind: str) -> float:
        """Return the mean RMSE of those of a kind."""
        return float(np.mean([learned.figures["rmse"] for each, _, learned in self.judged if each == kind]))


def table(result: Result) -> Table:
    """Return one row for each model that was in use in the end."""
    columns = Table(title=f"{escape(result.target)} on sources that nobody sent")
    columns.add_column("model", no_wrap=True)
    for heading in ("samples", *HEADINGS.values()):
        columns.add_column(heading, justify="right")
    before = "base"
    for kind, name, learned in result.judged:
        if kind != before:
            columns.add_section()
        before = kind
        figures = (f"{learned.figures[key]:.{2 if key == 'rmse' else 4}f}" for key in HEADINGS)
        columns.add_row(escape(name), f"{learned.samples:,}", *figures)
    return columns


def summary(result: Result) -> str:
    """Return in some lines what the table shows and how it came about."""
    sent = (f"{node_name(number)} has {' and '.join(each)}" for number, each in enumerate(result.sources))
    return (
        f"mean RMSE of the sidecars: alone {result.mean_rmse('alone'):.2f}, "
        f"with the pool {result.mean_rmse('with'):.2f}\n"
        f"{'; '.join(sent)}; judged on {', '.join(result.judges)}\n"
        "alone was computed, by the same training and gate on the same samples in the same order; the rest was run"
    )


def plot(result: Result, path: Path) -> None:
    """Write a PNG: the error over the samples that each node has sent."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.axhline(result.base["rmse"], color="tab:gray", linestyle="--", label="base model")
    pool = [learned._replace(samples=learned.samples // len(result.alone)) for learned in result.played.pool]
    axes.plot(*_curve(pool), color="black", linewidth=2.5, label="pool")
    for number, (alone, with_pool) in enumerate(zip(result.alone, result.played.sidecars, strict=True)):
        colour = f"C{number}"
        axes.plot(*_curve(alone), color=colour, linestyle=":", marker=".", label=f"{node_name(number)} alone")
        axes.plot(*_curve(with_pool), color=colour, marker=".", label=f"{node_name(number)} with the pool")
    axes.set(
        title=f"{result.target} on sources that nobody sent",
        xlabel="samples of each node",
        ylabel="RMSE of the newest stable model",
        yscale="log",
    )
    axes.legend(fontsize="small", ncols=2)
    figure.savefig(path, dpi=120)


def _curve(learned: Sequence[Learned]) -> tuple[list[int], list[float]]:
    return [each.samples for each in learned], [each.figures["rmse"] for each in learned]


def failure(result: Result) -> str:
    """Return why the fleet is not what was promised; empty where pool and sidecars are better than the base model."""
    base = result.base["rmse"]
    for kind, name, learned in result.judged:
        if kind in {"pool", "with"} and not learned.figures["rmse"] < base:
            return f"{name} is not better than the base model: RMSE {learned.figures['rmse']:.2f}, not under {base:.2f}"
    return ""
