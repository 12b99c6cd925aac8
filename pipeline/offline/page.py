"""An evaluation as one HTML file that needs nothing beside it."""

import base64
from collections.abc import Mapping, Sequence
from html import escape

from pipeline.model.accuracy import FIGURES
from pipeline.offline.report import HEADINGS, Report, row
from pipeline.offline.scores import Figure

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 90rem; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto }
th, td { padding: .2rem .7rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap }
th:first-child, td:first-child, td:nth-child(2) { text-align: left }
img { max-width: 100% }
"""


def page(title: str, reports: Sequence[Report], pictures: Mapping[str, bytes]) -> str:
    """Return the document: the models side by side, PNG pictures by what they show, then every model's groups."""
    body = [f"<h1>{escape(title)}</h1>", _table(HEADINGS, [row(report) for report in reports])]
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
    return _table(headings, cells)


def _cell(figure: Figure) -> str:
    return f"{figure.value:.4f} ({figure.low:.4f} to {figure.high:.4f})"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    body = "\n".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>" for cells in rows)
    return f"<table><tr>{head}</tr>\n{body}</table>"
