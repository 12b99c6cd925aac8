"""The table, on the terminal and in docs/benchmarks.md, and its plot."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean

import click

from benchmarks.figures import HEADINGS, Figure

DOCS = Path(__file__).parent.parent / "docs"
PAGE = DOCS / "benchmarks.md"
PLOT = DOCS / "img" / "benchmarks.png"
_WIDTHS = (38, 36, 30, 9, 20, 14, 8)


def print_headings() -> None:
    """Print the table's first line."""
    _print(HEADINGS)


def print_rows(figures: list[Figure]) -> None:
    """Print lines of the table."""
    for figure in figures:
        _print(figure.cells())


def _print(cells: tuple[str, ...]) -> None:
    *columns, note = cells
    click.echo("".join(f"{cell:<{width}} " for cell, width in zip(columns, _WIDTHS, strict=True)) + note)


def write(answers: dict[str, tuple[list[Figure], str]]) -> None:
    """Renew the table and the plot in the documentation."""
    figures = [figure for each, _ in answers.values() for figure in each]
    bounds = [f"- {name.replace('_', ' ')}: {bound}" for name, (_, bound) in answers.items()]
    replace_section(
        "figures", "\n".join([machine("make bench"), "", *table(figures), "", "What bounds each:", "", *bounds])
    )
    draw(figures)


def machine(command: str) -> str:
    """Say in a line what was measured on."""
    python, system = platform.python_version(), platform.machine()
    return f"Measured with `{command}` on {os.cpu_count()} cores, {system}, Python {python}."


def table(figures: list[Figure]) -> list[str]:
    """Return the lines of a table in Markdown."""
    return markdown(HEADINGS, (figure.cells() for figure in figures)).splitlines()


def markdown(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown, each line with its end."""
    return "".join("| " + " | ".join(row) + " |\n" for row in (headings, ["---"] * len(headings), *rows))


def with_mean(values: Sequence[float]) -> str:
    """Return the mean, and what it is of."""
    return f"{fmean(values):.2f} ({' · '.join(f'{value:.2f}' for value in values)})"


def replace_section(name: str, text: str, path: Path = PAGE) -> None:
    """Put `text` between the markers `<!-- name -->` and `<!-- end of name -->` of a page."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    page = path.read_text()
    before, after = page.split(begin)[0], page.split(end)[1]
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def draw(figures: list[Figure]) -> None:
    """Draw each figure as a multiple of its goal, oriented so that right of the line is better."""
    from matplotlib.figure import Figure as Canvas

    shown = [figure for figure in reversed(figures) if figure.values and figure.goal is not None]
    canvas = Canvas(figsize=(10, 0.2 * len(shown) + 1), layout="constrained")
    axes = canvas.subplots()
    for place, figure in enumerate(shown):
        extremes = [_multiple(figure, value) for value in (min(figure.values), max(figure.values))]
        color = "tab:green" if figure.reached else "tab:red"
        axes.plot(extremes, [place, place], color=color, alpha=0.5, linewidth=5, solid_capstyle="butt")
        axes.plot(_multiple(figure, figure.median), place, "o", color=color)
    axes.axvline(1, color="black", linewidth=1)
    axes.set(xscale="log", xlabel="times better than the goal: median, range")
    axes.margins(y=0.01)
    axes.set_yticks(range(len(shown)), [f"{each.question} | {each.against} | {each.setting}" for each in shown], size=7)
    axes.grid(axis="x", alpha=0.3)
    canvas.savefig(PLOT, dpi=110)


def _multiple(figure: Figure, value: float) -> float:
    assert figure.goal is not None
    return value / figure.goal if figure.at_least else figure.goal / max(value, 1e-9)
