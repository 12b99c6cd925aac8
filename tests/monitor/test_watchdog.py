"""The watchdog's decisions, with real child processes to watch and to kill."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from pipeline import logs
from pipeline.lifecycle import ExitCode
from pipeline.monitor.events import Event
from pipeline.monitor.watchdog import Watchdog
from pipeline.telemetry import Board, TrainerReport
from tests.monitor.boards import publish

HANG_S = 30.0


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """Give a real process that only sleeps."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def watchdog(board: Board) -> Watchdog:
    """Return a watchdog over the board."""
    return Watchdog(board, HANG_S, logs.get("monitor"))


def _event(state: str, pid: int = 0, role: str = "trainer") -> Event:
    return Event(f"PROCESS_STATE_{state}", {"processname": role, "pid": str(pid)})


def _report(board: Board, pid: int, silent: float = 0.0, ending: int = 0) -> None:
    heartbeat = time.monotonic() - silent
    publish(board, TrainerReport(role="trainer", phase="running", pid=pid, heartbeat=heartbeat, ending=ending))


def _pass(watchdog: Watchdog, seconds: float) -> None:
    """Let `seconds` pass for the watchdog, in which it looked now and then."""
    watchdog._running = {role: (pid, since - seconds) for role, (pid, since) in watchdog._running.items()}
    watchdog._down = {role: since - seconds for role, since in watchdog._down.items()}


def test_what_dies_while_all_are_stopped_is_no_verdict(watchdog: Watchdog) -> None:
    """Asked to stop a process that waits for its next attempt, the supervisor calls it fatal: nothing is wrong."""
    watchdog.on_event(_event("BACKOFF"))
    watchdog.on_event(Event("SUPERVISOR_STATE_CHANGE_STOPPING", {}))
    watchdog.on_event(_event("FATAL"))
    assert watchdog.verdict == 0


def test_a_silent_process_is_killed(watchdog: Watchdog, board: Board, child: subprocess.Popen[bytes]) -> None:
    """A running process without a report for longer than the limit gets SIGKILL; within the limit it is left alone."""
    watchdog.on_event(_event("RUNNING", child.pid))
    _pass(watchdog, 1000)
    _report(board, child.pid, silent=HANG_S - 5)
    watchdog.check()
    assert child.poll() is None
    _report(board, child.pid, silent=HANG_S + 5)
    watchdog.check()
    assert child.wait(timeout=10) == -9
    assert watchdog.verdict == 0


def test_a_starting_process_has_time_to_import(watchdog: Watchdog, child: subprocess.Popen[bytes]) -> None:
    """A process that has never reported is given a minute, however short the limit is."""
    watchdog.on_event(_event("RUNNING", child.pid))
    _pass(watchdog, 50)
    watchdog.check()
    assert child.poll() is None
    _pass(watchdog, 15)
    watchdog.check()
    assert child.wait(timeout=10) == -9


def test_after_a_pause_of_everything_nobody_is_killed(
    watchdog: Watchdog, board: Board, child: subprocess.Popen[bytes]
) -> None:
    """When the watchdog itself did not run, as in a paused container, silence proves nothing."""
    watchdog.on_event(_event("RUNNING", child.pid))
    _pass(watchdog, 1000)
    _report(board, child.pid, silent=1000)
    watchdog._checked_at -= 1000
    watchdog.check()
    assert child.poll() is None


def test_a_restarted_monitor_takes_up_what_runs(
    board: Board, child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A watchdog that missed the event RUNNING watches all the same, and kills only children of the supervisor."""
    _report(board, child.pid, silent=1000)
    stranger = Watchdog(board, HANG_S, logs.get("monitor"))
    assert "trainer" not in stranger._running
    monkeypatch.setattr(os, "getppid", os.getpid)
    watchdog = Watchdog(board, HANG_S, logs.get("monitor"))
    assert watchdog._running["trainer"][0] == child.pid
    _pass(watchdog, 1000)
    watchdog.check()
    assert child.wait(timeout=10) == -9


@pytest.mark.parametrize(
    ("ending", "state", "verdict", "restarts"),
    [
        (0, "EXITED", 0, 1),
        (0, "BACKOFF", 0, 1),
        (0, "FATAL", ExitCode.BEYOND_RESTART, 0),
        (65, "EXITED", 65, 0),
        (78, "BACKOFF", 78, 0),
        (65, "FATAL", 65, 0),
        (0, "STOPPED", 0, 0),
    ],
)
def test_verdict(watchdog: Watchdog, board: Board, ending: int, state: str, verdict: int, restarts: int) -> None:
    """A crash counts as a restart; an ending on purpose, or FATAL, ends the sidecar; a stop is neither."""
    _report(board, 2**22, ending=ending)
    watchdog.on_event(_event("RUNNING", 2**22))
    watchdog.on_event(_event(state))
    assert watchdog.verdict == verdict
    assert watchdog.restarts.get("trainer", 0) == restarts


def test_what_stays_down_ends_the_sidecar(watchdog: Watchdog) -> None:
    """A process that nobody starts again for a minute is beyond restart; one that was stopped on purpose is not."""
    watchdog.on_event(_event("EXITED", role="ingest"))
    watchdog.on_event(_event("STOPPED", role="trainer"))
    watchdog.on_event(_event("STOPPED", role="exporter"))
    watchdog.check()
    assert watchdog.verdict == 0
    _pass(watchdog, 61)
    watchdog.check()
    assert watchdog.verdict == ExitCode.BEYOND_RESTART


def test_other_programs_are_none_of_its_business(watchdog: Watchdog) -> None:
    """Events of processes that it does not know, and of other kinds, change nothing."""
    watchdog.on_event(_event("FATAL", role="monitor"))
    watchdog.on_event(Event("TICK_5", {"when": "1"}))
    assert watchdog.verdict == 0
    assert watchdog.restarts == {}
