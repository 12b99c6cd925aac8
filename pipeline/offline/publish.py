"""Evaluations written out: JSON, one HTML page, plots, and the table on the terminal."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.corpus.table import Corpus
from pipeline.offline.candidate import Candidate
from pipeline.offline.report import HEADINGS, Report, judge, row, write_json
from pipeline.runtime.durable import write_durably


def publish(
    candidates: Sequence[Candidate], corpus: Corpus, target: str, resamples: int, output: Path, name: str
) -> None:
    """Judge the candidates on the whole corpus; write `name`.json, .html and plots to `output`, print the table."""
    from pipeline.offline.page import page
    from pipeline.offline.plots import error_by_band, scatter

    reports = [judge(candidate, corpus, target, resamples) for candidate in candidates]
    pictures = {
        "scatter": scatter(candidates, corpus, target),
        "bands": error_by_band(candidates, corpus, target),
    }
    write_json(output / f"{name}.json", reports)
    shown = {"predictions against scores": pictures["scatter"], "error by band of the score": pictures["bands"]}
    title = f"{target}: {', '.join(candidate.name for candidate in candidates)}"
    write_durably(output / f"{name}.html", page(title, reports, shown).encode())
    for picture, png in pictures.items():
        write_durably(output / f"{name}-{picture}.png", png)
    _show(reports)


def _show(reports: Sequence[Report]) -> None:
    table = Table(box=None)
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading == "model" else "right", no_wrap=True)
    for report in reports:
        table.add_row(*map(escape, row(report)))
    Console(width=160, emoji=False).print(table)
