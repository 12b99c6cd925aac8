"""Measures and draws the growth curves: `python -m benchmarks.growth`."""

from __future__ import annotations

import time

import click

from benchmarks.growth_curves import Curve, curves
from benchmarks.report import DOCS, machine, markdown, replace_section

PLOT = DOCS / "img" / "growth.png"


@click.command(epilog="Example: python -m benchmarks.growth")
def main() -> None:
    """Measure all curves, print them, and renew docs/benchmarks.md and its plot. Takes about five minutes."""
    began = time.monotonic()
    measured = []
    for curve in curves():
        measured.append(curve)
        click.echo("\n".join(_table(curve)) + "\n")
    click.echo(f"{time.monotonic() - began:.0f} s")
    _draw(measured)
    sections = [part for curve in measured for part in (f"### {curve.title}", "", *_table(curve), "", curve.bound, "")]
    replace_section("growth", "\n".join([machine("python -m benchmarks.growth"), "", *sections]))


def _table(curve: Curve) -> list[str]:
    headings = (f"{curve.along} ({curve.unit})", *(f"{place:,}" for place in curve.places))
    rows = ((name, *(f"{value:.3g}" for value in values)) for name, values in curve.relative().items())
    return markdown(headings, rows).splitlines()


def _draw(measured: list[Curve]) -> None:
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(11, 6.5), layout="constrained")
    for axes, curve in zip(canvas.subplots(2, -(-len(measured) // 2)).flat, measured, strict=True):
        for name, values in curve.relative().items():
            axes.plot(curve.places, values, marker="o", markersize=4, label=name)
        axes.set(xscale="log", yscale="log", title=curve.title, xlabel=curve.along, ylabel=curve.unit)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    canvas.savefig(PLOT, dpi=100)


if __name__ == "__main__":
    main()
