"""Log events in shared memory, and the limit on how many there are."""

import json
import math
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import structlog

from pipeline.runtime.journal import CAPACITY, Journals, open_journals
from pipeline.runtime.logs import RateLimit
from tests.support.boards import settings_of
from tests.support.processes import REPOSITORY
from tests.support.waiting import eventually


def _event(number: int, **fields: Any) -> dict[str, Any]:
    return {"timestamp": f"2026-01-01T00:00:{number:06d}Z", "level": "info", "role": "ingest", "event": "e", **fields}


def test_events_of_all_roles_are_merged_by_time(journals: Journals) -> None:
    """The newest events come oldest first, whoever logged them."""
    journals.writer("ingest").add(_event(1))
    journals.writer("trainer").add(_event(3))
    journals.writer("exporter").add(_event(2))
    assert [event["timestamp"][-3:-1] for event in journals.newest(2)] == ["02", "03"]
    assert journals.version == 3


def test_a_new_life_goes_on_after_the_last(instance: str, journals: Journals) -> None:
    """Events outlive the process that logged them, and its successor appends to them."""
    script = (
        "import sys; from pipeline.runtime.journal import open_journals; from tests.support.boards import settings_of\n"
        "open_journals(settings_of(sys.argv[1])).writer('ingest').add({'timestamp': '1', 'event': 'first'})"
    )
    subprocess.run([sys.executable, "-c", script, instance], check=True, timeout=60, cwd=REPOSITORY)
    open_journals(settings_of(instance)).writer("ingest").add({"timestamp": "2", "event": "second"})
    assert [event["event"] for event in journals.newest(10)] == ["first", "second"]


def test_a_flood_costs_only_the_oldest(journals: Journals) -> None:
    """After 10,000 events the newest are there, the region is no larger, and each is whole."""
    writer = journals.writer("ingest")
    for number in range(10_000):
        writer.add(_event(number, text="x" * (number % 300)))
    kept = journals.newest(10_000)
    assert kept[-1]["timestamp"] == _event(9_999)["timestamp"]
    assert len(kept) > 20
    assert sum(len(json.dumps(event)) for event in kept) < 2 * CAPACITY


@pytest.mark.parametrize(
    "fields",
    [
        {"exception": "x" * 1_000_000},
        {f"field{i}": "x" * 900 for i in range(50)},
        {"path": Path("/dev"), "error": ValueError("no"), "nan": math.nan, "infinite": math.inf},
        {"text": "two\nlines\r\n\u2028\0"},
        {"text": "\ud800"},
        {"nested": {"set": {1, 2}, "bytes": b"\xff"}},
    ],
)
def test_any_value_can_be_logged(journals: Journals, fields: dict[str, Any]) -> None:
    """Values that JSON does not know, do not end, or span lines neither raise nor hide the other events."""
    writer = journals.writer("trainer")
    writer.add(_event(1, **fields))
    writer.add(_event(2))
    assert [event["event"] for event in journals.newest(10)] == ["e", "e"]


def test_threads_may_log_at_once(journals: Journals) -> None:
    """Four threads that log at once leave only whole events, and the last of each."""
    writer = journals.writer("monitor")

    def log(number: int) -> None:
        for n in range(200):
            writer.add(_event(n, thread=number))

    threads = [threading.Thread(target=log, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert journals.version == 800
    assert all(event["event"] == "e" for event in journals.newest(1000))


def test_a_flood_is_cut_to_a_few_lines() -> None:
    """Of a thousand events of a name, twenty get through; other names are not affected, and the loss is told."""
    limit = RateLimit(burst=20, refill_s=0.05)
    passed = [event for event in (_pass(limit, "refused") for _ in range(1000)) if event is not None]
    assert 20 <= len(passed) < 100
    assert _pass(limit, "other") == {"event": "other"}
    later: list[dict[str, Any]] = []

    def another_passes() -> bool:
        later.extend(filter(None, [_pass(limit, "refused")]))
        return bool(later)

    assert eventually(another_passes)
    assert later[0]["suppressed"] > 0


def _pass(limit: RateLimit, name: str) -> dict[str, Any] | None:
    try:
        return dict(limit(None, "info", {"event": name}))
    except structlog.DropEvent:
        return None
