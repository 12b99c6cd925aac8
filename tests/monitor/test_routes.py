"""What the page asks for."""

import json
from typing import Any

import pytest

from pipeline.checkpoints.checkpoint import Checkpoint, Figures, GateMetrics, Part
from pipeline.monitor.record import Record
from pipeline.runtime.health import examine
from pipeline.runtime.journal import Journals
from pipeline.runtime.reports import Board
from tests.monitor.conftest import Get


def _json(get: Get, path: str) -> Any:
    code, body = get(path)
    assert code == 200
    return json.loads(body)


def test_live_tells_all_that_changes(get: Get) -> None:
    """Counts, figures and the processes, with processor time and memory of those that are alive."""
    live = _json(get, "/live")
    assert (live["phase"], live["samples"], live["ring"], live["lag"]) == ("running", 12345, 10000, 45)
    assert live["figures"]["prequential_ema_rmse"] == 0.5
    assert "45 of 12,345 samples are not trained on yet" in live["doing"]
    processes = {process["role"]: process for process in live["processes"]}
    assert list(processes) == ["ingest", "trainer", "exporter", "archive", "monitor"]
    assert processes["trainer"]["restarts"] == 2
    assert processes["trainer"]["memory"] > 1e6


def test_history_is_given_piece_by_piece(get: Get, record: Record, board: Board) -> None:
    """The first answer is whole, the next one with its token is empty while nothing happens."""
    record.sample(examine(board))
    first = _json(get, "/history")
    assert (first["whole"], len(first["rows"])) == (True, 1)
    assert first["rows"][0][first["columns"].index("samples")] == 12345
    second = _json(get, f"/history?since={first['token']}")
    assert (second["whole"], second["rows"]) == (False, [])


def test_checkpoints_come_newest_first_with_the_gates_figures(get: Get, record: Record) -> None:
    """Why a checkpoint was refused, and what was measured, arrive as the exporter wrote them."""
    by = {"node": {"n1": Part(7, 1.0, None)}}
    measured = {"held-out": GateMetrics(200, 8, Figures(1.5, 0.9, None), Figures(12.0, 0.95, 0.9), by=by)}
    for version in (1, 2):
        sidecar = Checkpoint(
            version=version, sha256="", created="2026-05-28T12:34:56Z", step=1, samples=9, base_model="",
            base_sha256="", state="unstable", reason="PLCC fell.", metrics=measured,
        )  # fmt: skip
        record.put_checkpoints({version: sidecar})
    checkpoints = _json(get, "/checkpoints")
    assert [each["version"] for each in checkpoints] == [2, 1]
    assert checkpoints[0]["reason"] == "PLCC fell."
    candidate = {"rmse": 1.5, "plcc": 0.9, "srocc": None, "srocc_under_99": None}
    assert checkpoints[0]["metrics"]["held-out"]["candidate"] == candidate
    assert checkpoints[0]["metrics"]["held-out"]["by"] == {
        "node": {"n1": {"samples": 7, "candidate": 1.0, "base": None}}
    }


def test_events_are_those_of_the_journals(get: Get, journals: Journals) -> None:
    """What a process logs is on the page, and the count on `/live` says that there is something new."""
    before = _json(get, "/live")["events"]
    journals.writer("ingest").add({"timestamp": "2026-01-01T00:00:00Z", "event": "listening", "role": "ingest"})
    assert _json(get, "/live")["events"] == before + 1
    assert _json(get, "/events")[-1]["event"] == "listening"


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/", b"<!doctype html>"),
        ("/page.js", b"import"),
        ("/charts.js", b"uPlot"),
        ("/words.js", b"export"),
        ("/measured.js", b"export"),
        ("/page.css", b"prefers-color-scheme"),
        ("/uPlot.iife.min.js", b"uPlot"),
        ("/uPlot.min.css", b".uplot"),
        ("/uPlot.LICENSE", b"MIT License"),
    ],
)
def test_the_pages_files_are_served(get: Get, path: str, content: bytes) -> None:
    """Everything that the page needs comes from the package, the chart library's licence included."""
    code, body = get(path)
    assert code == 200
    assert content in body
