"""Evaluations written out: as JSON, as one HTML page that needs nothing beside it, as plots, and on the terminal.

The only part of offline training that needs matplotlib.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
from matplotlib.figure import Figure as Plot
from rich import markup
from rich.console import Console
from rich.table import Table

from pipeline.corpus.table import Corpus
from pipeline.model.accuracy import FIGURES
from pipeline.offline.evaluated_model import EvaluatedModel
from pipeline.offline.report import BANDS, Figure, Report, judge
from pipeline.runtime.durable import write_durably

_HEADINGS = (
    "model", "PLCC", "SROCC", "KROCC", "RMSE", "95 %", "MAE", "RMSE of a source", "PLCC of a source",
    "p50 µs", "p95 µs", "bytes",
)  # fmt: skip
"""Columns of `_row`; "of a source" is mean ± standard deviation over the sources."""

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 90rem; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto }
th, td { padding: .2rem .7rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap }
th:first-child, td:first-child, td:nth-child(2) { text-align: left }
img { max-width: 100% }
"""


def write_report(
    models: Sequence[EvaluatedModel], corpus: Corpus, target: str, resamples: int, output: Path, name: str
) -> None:
    """Judge the models on the whole corpus; write `name`.json, .html and plots to `output`, print the table."""
    reports = [judge(model, corpus, target, resamples) for model in models]
    pictures = {
        "scatter": _scatter(models, corpus, target),
        "bands": _error_by_band(models, corpus, target),
        "sources": _correlation_by_source(reports),
    }
    _write_json(output / f"{name}.json", reports)
    shown = {
        "predictions against scores": pictures["scatter"],
        "error by band of the score": pictures["bands"],
        "correlation by source, with its 95 % interval": pictures["sources"],
    }
    title = f"{target}: {', '.join(model.name for model in models)}"
    write_durably(output / f"{name}.html", _page(title, reports, shown).encode())
    for picture, png in pictures.items():
        write_durably(output / f"{name}-{picture}.png", png)
    _show(reports)


def _show(reports: Sequence[Report]) -> None:
    table = Table(box=None)
    for heading in _HEADINGS:
        table.add_column(heading, justify="left" if heading == "model" else "right", no_wrap=True)
    for report in reports:
        table.add_row(*map(markup.escape, _row(report)))
    Console(width=160, emoji=False).print(table)


def _row(report: Report) -> tuple[str, ...]:
    """Return the cells of one model under _HEADINGS."""
    figures = report.overall.figures
    correlations = (f"{figures[name].value:.4f}" for name in ("plcc", "srocc", "krocc"))
    rmse = figures["rmse"]
    return (
        report.model,
        *correlations,
        f"{rmse.value:.3f}",
        f"{rmse.low:.3f}-{rmse.high:.3f}",
        f"{figures['mae'].value:.3f}",
        "{:.3f} ± {:.3f}".format(*report.over_sources("rmse")),
        "{:.4f} ± {:.4f}".format(*report.over_sources("plcc")),
        f"{report.latency_us_p50:.1f}",
        f"{report.latency_us_p95:.1f}",
        str(report.bytes),
    )


def _write_json(path: Path, reports: list[Report]) -> None:
    """Write reports as a JSON list, durably; figures that do not exist are null."""
    document = [
        asdict(report) | {"over_sources": {name: report.over_sources(name) for name in FIGURES}} for report in reports
    ]
    write_durably(path, msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")


def _page(title: str, reports: Sequence[Report], pictures: Mapping[str, bytes]) -> str:
    """Return the document: the models side by side, PNG pictures by what they show, then every model's groups."""
    body = [f"<h1>{escape(title)}</h1>", _html_table(_HEADINGS, [_row(report) for report in reports])]
    body += [_picture(shown, png) for shown, png in pictures.items()]
    for report in reports:
        body += [f"<h2>{escape(report.model)}</h2>", _groups(report)]
    content = "\n".join(body)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n{content}\n</body></html>\n"
    )


def _picture(shown: str, png: bytes) -> str:
    return f'<p><img alt="{escape(shown)}" src="data:image/png;base64,{base64.b64encode(png).decode()}"></p>'


def _groups(report: Report) -> str:
    headings = ("group", "", "rows", *(name.upper() for name in FIGURES))
    cells = [
        (group.kind, group.name, str(group.rows), *(_cell(figure) for figure in group.figures.values()))
        for group in report.groups
    ]
    return _html_table(headings, cells)


def _cell(figure: Figure) -> str:
    return f"{figure.value:.4f} ({figure.low:.4f} to {figure.high:.4f})"


def _html_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    body = "\n".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>" for cells in rows)
    return f"<table><tr>{head}</tr>\n{body}</table>"


def _scatter(models: Sequence[EvaluatedModel], corpus: Corpus, target: str) -> bytes:
    """Draw predictions against scores, a panel for each model, darker where there are more frames."""
    figure = Plot(figsize=(3.6 * len(models), 3.6), layout="constrained")
    panels = figure.subplots(1, len(models), squeeze=False, sharex=True, sharey=True)[0]
    for panel, model in zip(panels, models, strict=True):
        panel.hexbin(
            corpus.target(target), model.predicted, gridsize=60, bins="log", cmap="Blues", extent=(0, 100, 0, 100)
        )
        panel.plot([0, 100], [0, 100], color="black", linewidth=0.6)
        panel.set(title=model.name, xlabel=target, xlim=(0, 100), ylim=(0, 100))
    panels[0].set_ylabel("predicted")
    return _png(figure)


def _error_by_band(models: Sequence[EvaluatedModel], corpus: Corpus, target: str) -> bytes:
    """Draw the root mean squared error within each band of the score, a bar for each model."""
    score = corpus.target(target)
    band = np.clip(np.digitize(score, BANDS) - 1, 0, len(BANDS) - 2)
    figure = Plot(figsize=(7, 3.2), layout="constrained")
    panel = figure.subplots()
    width = 0.8 / len(models)
    for i, model in enumerate(models):
        squares = (model.predicted - score).astype(float) ** 2
        counts = np.bincount(band, minlength=len(BANDS) - 1)
        means = np.bincount(band, squares, len(BANDS) - 1) / np.maximum(counts, 1)
        panel.bar(np.arange(len(means)) + i * width, np.sqrt(means), width, label=model.name)
    names = [f"{low}-{high}" for low, high in pairwise(BANDS)]
    panel.set(
        xlabel=target, ylabel="RMSE", yscale="log", xticks=np.arange(len(names)) + 0.4 - width / 2, xticklabels=names
    )
    panel.legend()
    return _png(figure)


def _correlation_by_source(reports: Sequence[Report]) -> bytes:
    """Draw PLCC within each source, and its interval, a point for each model."""
    figure = Plot(figsize=(7, 3.4), layout="constrained")
    panel = figure.subplots()
    for i, report in enumerate(reports):
        sources = [group for group in report.groups if group.kind == "source"]
        places = np.arange(len(sources)) + 0.6 * (i + 0.5) / len(reports)
        found = [group.figures["plcc"] for group in sources]
        panel.vlines(places, [each.low for each in found], [each.high for each in found], f"C{i % 10}", linewidth=1)
        panel.plot(places, [each.value for each in found], "o", color=f"C{i % 10}", markersize=3, label=report.model)
        panel.set(ylabel="PLCC", xticks=np.arange(len(sources)) + 0.3)
        panel.set_xticklabels([group.name for group in sources], rotation=60, ha="right")
    panel.legend()
    return _png(figure)


def _png(figure: Plot) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110)
    return file.getvalue()
