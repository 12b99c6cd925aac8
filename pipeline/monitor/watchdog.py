"""What to do about the other processes: count how often each is restarted, and restart one that hangs."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from pipeline.monitor.events import Event
from pipeline.runtime import kernel
from pipeline.runtime.reports import (
    ArchiveReport,
    Board,
    ExporterReport,
    IngestReport,
    PublisherReport,
    Report,
    TrainerReport,
    UplinkReport,
)

if TYPE_CHECKING:
    from pipeline.runtime.logs import Logger

_WATCHED: dict[str, type[Report]] = {
    "ingest": IngestReport,
    "trainer": TrainerReport,
    "exporter": ExporterReport,
    "archive": ArchiveReport,
    "publisher": PublisherReport,
    "uplink": UplinkReport,
}
# Who writes to disk may wait long for a slow one without a fault of its own.
_PATIENCE = {"exporter": 6.0, "archive": 6.0}
# A process that has not reported yet is importing: give it this many seconds at least.
_STARTUP_S = 60.0
# If the watchdog itself did not run for so many seconds, as in a paused container, silence means nothing.
_ASLEEP_S = 5.0
# What the supervisor calls a process that it is about to start once more.
_ENDED = {"EXITED", "BACKOFF"}


class Watchdog:
    """Follows the supervisor's events and the heartbeats of the processes that run.

    `restarts` counts by role. After a restart of the monitor, it also follows the processes
    that already run.
    """

    def __init__(
        self,
        board: Board,
        hang_s: float,
        log: Logger,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._board = board
        self._hang_s = hang_s
        self._log = log
        self._clock = clock
        self._running: dict[str, tuple[int, float]] = {}
        self._before: dict[str, int] = {}
        """By role, the process that had reported last when the present one was started."""
        self._told_to_end: set[str] = set()
        """The roles whose last process ended with exit code 0: a command such as `forget` ended it."""
        self.restarts: dict[str, int] = {}
        self._stopping = False
        self._checked_at = self._clock()
        for role in _WATCHED:
            self._take_up(role)

    def _take_up(self, role: str) -> None:
        pid = self._report(role).pid
        if kernel.look_at(pid).parent == os.getppid():
            self._running[role] = (pid, self._clock())

    def _report(self, role: str) -> Report:
        return self._board.read(role, _WATCHED[role])

    def on_event(self, event: Event) -> None:
        """Take in one event of the supervisor."""
        if event.name == "SUPERVISOR_STATE_CHANGE_STOPPING":
            self._stopping = True
        role = event.payload.get("processname", "")
        if role not in _WATCHED or not event.name.startswith("PROCESS_STATE_"):
            return
        state = event.name.removeprefix("PROCESS_STATE_").lower()
        self._running.pop(role, None)
        if state == "exited" and event.payload.get("expected") == "1":
            self._told_to_end.add(role)
        elif state == "starting":
            self._note_words_of_before(role)
            if event.payload["from_state"] in _ENDED and role not in self._told_to_end:
                self.restarts[role] = self.restarts.get(role, 0) + 1
            self._told_to_end.discard(role)
        elif state == "running":
            self._running[role] = (int(event.payload["pid"]), self._clock())
        elif state in {"exited", "backoff", "fatal"} and not self._stopping:
            self._log_end(role, state)

    def _note_words_of_before(self, role: str) -> None:
        """Note which process has reported last. The event may come late: then that is the process it is about."""
        report = self._report(role)
        if report.phase != "failed" and not kernel.look_at(report.pid).state:
            self._before[role] = report.pid

    def _log_end(self, role: str, state: str) -> None:
        """Log an end, with what the process itself said of it; one that gave its reason has logged that."""
        report = self._report(role)
        said = report.pid not in {0, self._before.get(role)}
        if not (said and report.phase == "failed"):
            phase, problem = (report.phase, report.problem) if said else ("", "")
            self._log.warning("process_ended", process=role, state=state, phase=phase, problem=problem)

    def check(self) -> None:
        """Kill what runs without progress, so that the supervisor starts it again."""
        self._excuse_if_asleep()
        for role, (pid, since) in list(self._running.items()):
            silent = self._silence(role, pid, since)
            if silent:
                self._log.error("process_hangs", process=role, pid=pid, silent_seconds=round(silent, 1))
                self._running.pop(role)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _excuse_if_asleep(self) -> None:
        now = self._clock()
        if now - self._checked_at > _ASLEEP_S:
            self._running = {role: (pid, now) for role, (pid, _) in self._running.items()}
        self._checked_at = now

    def _silence(self, role: str, pid: int, since: float) -> float:
        """Return for how many seconds a process has shown no progress; 0 while that is tolerable."""
        report = self._report(role)
        has_reported = report.pid == pid
        patience = self._hang_s * _PATIENCE.get(role, 1.0)
        silent = self._clock() - (max(report.heartbeat, since) if has_reported else since)
        return silent if silent > (patience if has_reported else max(patience, _STARTUP_S)) else 0.0
