"""The watchdog's decisions, with real child processes to watch and to kill."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from structlog.testing import CapturingLogger

from pipeline.monitor.events import Event
from pipeline.monitor.watchdog import Watchdog
from pipeline.runtime import regions
from pipeline.runtime.reports import Board, TrainerReport
from tests.support.boards import publish, settings_of
from tests.support.clock import Clock

HANG_S = 30


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """Give a real process that only sleeps."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def logged() -> CapturingLogger:
    """Return the logger of the watchdog, which keeps what is logged."""
    return CapturingLogger()


@pytest.fixture
def board(instance: str) -> Board:
    """Return a board on which nobody has reported: a watchdog may kill whoever has."""
    return regions.open_board(settings_of(instance))


@pytest.fixture
def clock() -> Clock:
    """Return the clock of watchdog and reports."""
    return Clock()


@pytest.fixture
def watchdog(board: Board, logged: CapturingLogger, clock: Clock) -> Watchdog:
    """Return a watchdog over the board."""
    return Watchdog(board, HANG_S, logged, clock)


def _event(state: str, pid: int = 0, role: str = "trainer", before: str = "STOPPED") -> Event:
    return Event(f"PROCESS_STATE_{state}", {"processname": role, "pid": str(pid), "from_state": before})


def _report(board: Board, pid: int, at: float = 0.0, phase: str = "running", problem: str = "") -> None:
    publish(board, TrainerReport(role="trainer", phase=phase, problem=problem, pid=pid, heartbeat=at))


def _watch(watchdog: Watchdog, clock: Clock, seconds: int) -> None:
    """Let the watchdog look once a second. Each kill is logged: nothing logged is nothing killed."""
    for _ in range(seconds):
        clock.now += 1
        watchdog.check()


def test_what_dies_while_all_are_stopped_is_not_told(logged: CapturingLogger, watchdog: Watchdog) -> None:
    """Asked to stop a process that waits for its next attempt, the supervisor calls it fatal: nothing is wrong."""
    watchdog.on_event(Event("SUPERVISOR_STATE_CHANGE_STOPPING", {}))
    watchdog.on_event(_event("FATAL"))
    assert logged.calls == []


def test_a_silent_process_is_killed(
    watchdog: Watchdog, board: Board, child: subprocess.Popen[bytes], clock: Clock, logged: CapturingLogger
) -> None:
    """A running process without a report for longer than the limit gets SIGKILL; within the limit it is left alone."""
    watchdog.on_event(_event("RUNNING", child.pid))
    _watch(watchdog, clock, HANG_S - 5)
    _report(board, child.pid, clock.now)
    _watch(watchdog, clock, HANG_S)
    assert logged.calls == []
    _watch(watchdog, clock, 1)
    assert child.wait(timeout=10) == -9


def test_a_starting_process_has_time_to_import(
    watchdog: Watchdog, child: subprocess.Popen[bytes], clock: Clock, logged: CapturingLogger
) -> None:
    """A process that has never reported is given a minute, however short the limit is."""
    watchdog.on_event(_event("RUNNING", child.pid))
    _watch(watchdog, clock, 60)
    assert logged.calls == []
    _watch(watchdog, clock, 1)
    assert child.wait(timeout=10) == -9


def test_after_a_pause_of_everything_nobody_is_killed(
    watchdog: Watchdog, board: Board, child: subprocess.Popen[bytes], clock: Clock, logged: CapturingLogger
) -> None:
    """When the watchdog itself did not run, as in a paused container, silence counts only from then on."""
    watchdog.on_event(_event("RUNNING", child.pid))
    _report(board, child.pid, clock.now)
    clock.now += 1000
    watchdog.check()
    _watch(watchdog, clock, HANG_S)
    assert logged.calls == []
    _watch(watchdog, clock, 1)
    assert child.wait(timeout=10) == -9


def test_a_restarted_monitor_takes_up_what_runs(
    board: Board,
    child: subprocess.Popen[bytes],
    clock: Clock,
    logged: CapturingLogger,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A watchdog that missed the event RUNNING watches all the same, and kills only children of the supervisor."""
    _report(board, child.pid, clock.now - 1000)
    _watch(Watchdog(board, HANG_S, logged, clock), clock, 1000)
    assert logged.calls == []
    monkeypatch.setattr(os, "getppid", os.getpid)
    watchdog = Watchdog(board, HANG_S, logged, clock)
    _watch(watchdog, clock, HANG_S)
    assert logged.calls == []
    _watch(watchdog, clock, 1)
    assert child.wait(timeout=10) == -9


@pytest.mark.parametrize(("before", "restarts"), [("STOPPED", 0), ("EXITED", 1), ("BACKOFF", 1)])
def test_a_start_after_an_end_is_a_restart(watchdog: Watchdog, before: str, restarts: int) -> None:
    """The first start is none; an end that no start follows, as at the end of the sidecar, is none either."""
    watchdog.on_event(_event("STARTING", before=before))
    watchdog.on_event(_event("EXITED"))
    watchdog.on_event(_event("FATAL"))
    assert watchdog.restarts.get("trainer", 0) == restarts


def test_what_a_command_ends_is_no_incident(logged: CapturingLogger, watchdog: Watchdog) -> None:
    """`forget` ends all processes, with exit code 0, and they begin again; a death after that is one."""
    ends = {"processname": "trainer", "pid": "1", "from_state": "RUNNING"}
    watchdog.on_event(Event("PROCESS_STATE_EXITED", ends | {"expected": "1"}))
    watchdog.on_event(_event("STARTING", before="EXITED"))
    assert (watchdog.restarts, logged.calls) == ({}, [])
    watchdog.on_event(Event("PROCESS_STATE_EXITED", ends | {"expected": "0"}))
    watchdog.on_event(_event("STARTING", before="EXITED"))
    assert (watchdog.restarts, len(logged.calls)) == ({"trainer": 1}, 1)


def test_the_words_of_an_earlier_life_are_not_those_of_this_one(
    logged: CapturingLogger, board: Board, watchdog: Watchdog
) -> None:
    """A process that died before it could report says nothing; who crashed says how; who gave up has said why."""

    def said() -> list[tuple[str, str]]:
        return [(call.kwargs["phase"], call.kwargs["problem"]) for call in logged.calls]

    _report(board, 2**22, phase="crashed", problem="of the life before")
    watchdog.on_event(_event("STARTING"))
    watchdog.on_event(_event("BACKOFF"))
    assert said() == [("", "")]
    watchdog.on_event(_event("STARTING", before="BACKOFF"))
    _report(board, 2**22 + 1, phase="crashed", problem="of this life")
    watchdog.on_event(_event("EXITED", 2**22 + 1))
    assert said()[1:] == [("crashed", "of this life")]
    watchdog.on_event(_event("STARTING", before="EXITED"))
    _report(board, 2**22 + 2, phase="failed", problem="logged by itself")
    watchdog.on_event(_event("EXITED", 2**22 + 2))
    assert len(said()) == 2


def test_other_programs_are_none_of_its_business(logged: CapturingLogger, watchdog: Watchdog) -> None:
    """Events of processes that it does not know, and of other kinds, change nothing."""
    watchdog.on_event(_event("FATAL", role="monitor"))
    watchdog.on_event(_event("STARTING", role="monitor", before="EXITED"))
    watchdog.on_event(Event("TICK_5", {"when": "1"}))
    assert (watchdog.restarts, logged.calls) == ({}, [])
