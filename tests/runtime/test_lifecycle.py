"""How processes begin and end: the stop flag, holding back after crashes, one process a role."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from pipeline.runtime import kernel
from pipeline.runtime.lifecycle import LONGEST_BACKOFF_S, StopFlag, crash_backoff, crash_backoff_seconds
from pipeline.runtime.reports import IngestReport, Report
from tests.support.ingest import Ingest, running
from tests.support.waiting import eventually


def died(after: float, short_lives: int = 0, phase: str = "accepting") -> Report:
    """Return the last report of a process that lived `after` seconds."""
    return Report(pid=1, started=100.0, heartbeat=100.0 + after, short_lives=short_lives, phase=phase)


def test_only_who_dies_young_again_and_again_has_to_wait() -> None:
    """0, 0, 1, 2, 4, … up to 30 s; a first start, a clean end or a long life begin anew."""
    assert crash_backoff_seconds(Report()) == (0, 0.0)
    assert crash_backoff_seconds(died(after=60, short_lives=9)) == (0, 0.0)
    assert crash_backoff_seconds(died(after=1, short_lives=9, phase="stopped")) == (0, 0.0)
    waits = [crash_backoff_seconds(died(after=1, short_lives=before))[1] for before in range(9)]
    assert waits == [0, 0, 1, 2, 4, 8, 16, LONGEST_BACKOFF_S, LONGEST_BACKOFF_S]


def test_a_process_in_crash_backoff_says_so_and_can_be_stopped() -> None:
    """It reports all the while, so that nobody takes it for hung, and ends its wait at SIGTERM."""
    stop, report, phases = StopFlag(), IngestReport(), []

    def publish() -> None:
        phases.append(report.phase)
        os.kill(os.getpid(), signal.SIGTERM)

    began = time.monotonic()
    crash_backoff(report, died(after=1, short_lives=8), stop, publish)
    assert phases[0] == "crash backoff"
    assert time.monotonic() - began < LONGEST_BACKOFF_S / 2


@pytest.fixture(autouse=True)
def _signals() -> object:
    """Give the test runner its signal handlers back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_stop_flag(number: signal.Signals) -> None:
    """Signals set it; who waits for it wakes."""
    stop = StopFlag()
    assert not stop
    assert not stop.wait(0.01)
    os.kill(os.getpid(), number)
    assert stop
    assert stop.wait(60)


@pytest.mark.processes
def test_a_process_follows_its_supervisor(tmp_path: Path) -> None:
    """When supervisord is killed, its children end by themselves instead of serving on unseen."""
    ingest = Ingest(tmp_path)
    ingest.environment["SUPERVISOR_ENABLED"] = "1"
    supervisor = os.fork()
    if supervisor == 0:
        ingest.launch()
        signal.pause()
        os._exit(0)
    try:
        eventually(lambda: ingest.report().phase == "accepting", explain=ingest.log)
    finally:
        os.kill(supervisor, signal.SIGKILL)
        os.waitpid(supervisor, 0)
    pid = ingest.report().pid
    try:
        eventually(lambda: kernel.look_at(pid).state in {"", "Z"}, explain=ingest.log)
        assert ingest.report().phase == "stopped"
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        ingest.lose_memory()


@pytest.mark.processes
def test_a_report_that_this_version_cannot_read_is_no_obstacle(tmp_path: Path) -> None:
    """Shared memory that outlived an upgrade: the process starts, its counters from zero."""
    with running(tmp_path) as ingest:
        ingest.kill_all()
        ingest.board().box("ingest").publish(msgspec.msgpack.encode({"pid": "not a number", "rejected": 5}))
        ingest.start()
        assert ingest.report().lives == 1
