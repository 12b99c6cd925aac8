"""The answers by path. Each is made from memory: shared memory, or the monitor's own."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import msgspec

from pipeline.monitor import history, live, status
from pipeline.monitor.server import Answer, Response
from pipeline.runtime.health import examine

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from pipeline.monitor.record import Record
    from pipeline.monitor.usage import Usages
    from pipeline.runtime.journal import Journals
    from pipeline.runtime.reports import Board

_TEXT = "text/plain; charset=utf-8"
_EVENTS = 100
_PAGE = "page.html"
_ASSETS = (
    _PAGE, "page.css", "page.js", "charts.js", "measured.js", "words.js",
    "uPlot.min.css", "uPlot.iife.min.js", "uPlot.LICENSE",
)  # fmt: skip
_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "LICENSE": "text/plain"}


class Routes:
    """The answers, over one board, journal region, and record."""

    def __init__(self, board: Board, journals: Journals, record: Record, usages: Usages) -> None:
        self._board, self._journals, self._record, self._usages = board, journals, record, usages
        self._registry: CollectorRegistry | None = None
        self._status = status.Status()

    def table(self) -> dict[str, Answer]:
        """Return the answers by path."""
        own: dict[str, Answer] = {
            "/status": lambda _: Response(self._status.answer(examine(self._board)), "application/json"),
            "/healthz": lambda _: _probe(*status.liveness(examine(self._board))),
            "/readyz": lambda _: _probe(*status.readiness(examine(self._board))),
            "/metrics": lambda _: self._metrics(),
            "/live": lambda _: _json(
                live.live(examine(self._board), self._usages, self._record, self._journals.version)
            ),
            "/events": lambda _: _json(self._journals.newest(_EVENTS)),
            "/checkpoints": lambda _: _json(list(reversed(self._record.checkpoints.values()))),
            "/history": self._history,
        }
        return own | {"/": _asset(_PAGE)} | {f"/{name}": _asset(name) for name in _ASSETS}

    def _metrics(self) -> Response:
        from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

        from pipeline.monitor.metrics import registry

        if self._registry is None:
            self._registry = registry(self._board, self._record, self._usages)
        return Response(generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4)

    def _history(self, query: str) -> Response:
        token, is_whole, rows = self._record.since(parse_qs(query).get("since", [""])[0])
        return _json({"token": token, "whole": is_whole, "columns": history.COLUMNS, "rows": rows})


def _json(document: Any) -> Response:
    return Response(msgspec.json.encode(document), "application/json")


def _probe(well: bool, text: str) -> Response:
    return Response(text.encode(), _TEXT, 200 if well else 503)


def _asset(name: str) -> Answer:
    content_type = f"{_TYPES[name.rpartition('.')[2]]}; charset=utf-8"
    return lambda _: Response(_content(name), content_type)


@cache
def _content(name: str) -> bytes:
    return resources.files("pipeline.monitor").joinpath("assets", name).read_bytes()
