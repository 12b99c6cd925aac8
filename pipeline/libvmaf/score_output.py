"""How `score` shows what it found: a table, JSON, or CSV."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.libvmaf.score import FIGURES, Scored, over_all

_DIGITS = {"plcc": 4, "srocc": 4}


def write_csv(scored: Sequence[Scored]) -> None:
    """Write a line for each sample; `measured` is empty where the log has no score."""
    lines = csv.writer(sys.stdout, lineterminator="\n")
    lines.writerow(("log", "number", "predicted", "measured"))
    for log in scored:
        lines.writerows((log.name, number, *values) for number, *values in _samples(log))


def write_json(model: Path, target: str, scored: Sequence[Scored], each: bool) -> None:
    """Write one object; null for a figure that does not exist."""
    logs = [_as_object(log) | ({"each": _columns(log)} if each else {}) for log in scored]
    said = {"model": str(model), "target": target, "logs": logs, "all": _as_object(over_all(scored))}
    click.echo(msgspec.json.format(msgspec.json.encode(said)))


def write_table(model: Path, target: str, scored: Sequence[Scored], each: bool) -> None:
    """Write a row for each log, and one for all of them."""
    console = Console(emoji=False)
    for log in scored if each else ():
        for number, predicted, measured in _samples(log):
            beside = f"{measured:8.3f}" if isinstance(measured, float) else ""
            console.print(f"{log.name} {number:>6} {predicted:8.3f} {beside}", highlight=False, markup=False)
    table = Table(title=f"{escape(model.name)}: {escape(target)}")
    table.add_column("log", overflow="fold")
    for heading in ("samples", *FIGURES[:2], *(name.upper() for name in FIGURES[2:])):
        table.add_column(heading, justify="right")
    for log in (*scored, *([over_all(scored)] if len(scored) > 1 else [])):
        figures = log.figures()
        cells = [_shown(name, figures[name]) for name in FIGURES]
        table.add_row(escape(Path(log.name).name), f"{len(log.numbers):,}", *cells)
    console.print(table)


def _samples(log: Scored) -> Iterator[tuple[int, float, float | str]]:
    measured = [""] * len(log.numbers) if log.measured is None else log.measured.tolist()
    return zip(log.numbers.tolist(), log.predicted.tolist(), measured, strict=True)


def _columns(log: Scored) -> dict[str, list[float] | None]:
    measured = None if log.measured is None else log.measured.tolist()
    return {"number": log.numbers.tolist(), "predicted": log.predicted.tolist(), "measured": measured}


def _as_object(log: Scored) -> dict[str, object]:
    return {"log": log.name, "samples": len(log.numbers), **log.figures()}


def _shown(name: str, figure: float | None) -> str:
    return "" if figure is None else f"{figure:.{_DIGITS.get(name, 2)}f}"
