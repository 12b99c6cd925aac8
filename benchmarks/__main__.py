"""Runs the benchmarks: `python -m benchmarks [NAME…]`."""

from __future__ import annotations

import importlib
import time

import click

from benchmarks import report
from benchmarks.figures import Figure

QUESTIONS = (
    "ingest",
    "lock_step",
    "archive",
    "latency",
    "ring_sampling",
    "training_loop",
    "equal_error",
    "export",
    "trainer_time",
    "memory",
    "start",
    "idle",
    "registry",
    "fleet_speed",
)


@click.command(epilog="Example: python -m benchmarks ring_sampling training_loop")
@click.argument("names", nargs=-1, type=click.Choice(QUESTIONS), metavar="[NAME]...")
def main(names: tuple[str, ...]) -> None:
    """Answer all questions, or those named, and print a table.

    Answering all takes about ten minutes, and renews docs/benchmarks.md and its plot. Let nothing else run meanwhile.
    """
    began = time.monotonic()
    answers: dict[str, tuple[list[Figure], str]] = {}
    report.print_headings()
    for name in names or QUESTIONS:
        question = importlib.import_module(f"benchmarks.{name}")
        figures = question.figures()
        report.print_rows(figures)
        answers[name] = figures, question.BOUND
    click.echo(f"{time.monotonic() - began:.0f} s")
    if not names:
        report.write(answers)


if __name__ == "__main__":
    main()
