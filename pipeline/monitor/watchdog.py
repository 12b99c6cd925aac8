"""What to do about the pipeline's processes: restart one that hangs, end the sidecar when one is beyond restart."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING

from pipeline.health import kernel_state
from pipeline.lifecycle import ExitCode
from pipeline.monitor.events import Event
from pipeline.telemetry import Board, ExporterReport, IngestReport, Report, TrainerReport

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

_WATCHED: dict[str, type[Report]] = {"ingest": IngestReport, "trainer": TrainerReport, "exporter": ExporterReport}
# An exporter may sit in a slow disk's write for long without anything being wrong with it.
_PATIENCE = {"ingest": 1.0, "trainer": 1.0, "exporter": 6.0}
# A process that has not reported yet is importing, and one that is down is about to be started again: give either this
# many seconds at least.
_STARTUP_S = 60.0
# When the watchdog itself did not run for so many seconds, a paused container for one, nobody's silence means anything.
_ASLEEP_S = 5.0


class Watchdog:
    """Follows the supervisor's events and the heartbeats of the processes that run.

    `restarts` counts by role; `verdict` is the exit code that the sidecar has to end with, 0 while it need not. A
    watchdog that comes late, because the monitor was restarted, takes up the processes that already run.
    """

    def __init__(self, board: Board, hang_s: float, log: FilteringBoundLogger) -> None:
        self._board = board
        self._hang_s = hang_s
        self._log = log
        self._running: dict[str, tuple[int, float]] = {}
        self._down: dict[str, float] = {}
        self.restarts: dict[str, int] = {}
        self.verdict = 0
        self._stopping = False
        self._checked_at = time.monotonic()
        for role in _WATCHED:
            self._take_up(role)

    def _take_up(self, role: str) -> None:
        pid = self._report(role).pid
        if kernel_state(pid)[1] == os.getppid():
            self._running[role] = (pid, time.monotonic())
        else:
            self._down[role] = time.monotonic()

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
        if state == "starting":
            self._down[role] = time.monotonic()
            return
        self._down.pop(role, None)
        self._running.pop(role, None)
        if state == "running":
            self._running[role] = (int(event.payload["pid"]), time.monotonic())
        elif state in {"exited", "backoff", "fatal"}:
            self._down[role] = time.monotonic()
            self._on_end(role, state)

    def _on_end(self, role: str, state: str) -> None:
        report = self._report(role)
        self._log.warning("process_ended", process=role, state=state, phase=report.phase, problem=report.problem)
        if self._stopping:
            return  # the supervisor calls a process fatal that it was asked to stop before its next attempt
        if report.ending or state == "fatal":
            self.verdict = report.ending or ExitCode.BEYOND_RESTART
        else:
            self.restarts[role] = self.restarts.get(role, 0) + 1

    def check(self) -> None:
        """Kill what runs without progress, so that the supervisor starts it again; give up on what stays down."""
        self._excuse_if_asleep()
        for role, (pid, since) in list(self._running.items()):
            silent = self._silence(role, pid, since)
            if silent:
                self._log.error("process_hangs", process=role, pid=pid, silent_seconds=round(silent, 1))
                self._running.pop(role)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        for role, since in self._down.items():
            if not self.verdict and time.monotonic() - since > _STARTUP_S:
                self._log.error("process_stays_down", process=role)
                self.verdict = self._report(role).ending or ExitCode.BEYOND_RESTART

    def _excuse_if_asleep(self) -> None:
        now = time.monotonic()
        if now - self._checked_at > _ASLEEP_S:
            self._running = {role: (pid, now) for role, (pid, _) in self._running.items()}
            self._down = dict.fromkeys(self._down, now)
        self._checked_at = now

    def _silence(self, role: str, pid: int, since: float) -> float:
        """Return for how many seconds a process has shown no progress; 0 while that is tolerable."""
        report = self._report(role)
        has_reported = report.pid == pid
        patience = self._hang_s * _PATIENCE[role]
        silent = time.monotonic() - (max(report.heartbeat, since) if has_reported else since)
        return silent if silent > (patience if has_reported else max(patience, _STARTUP_S)) else 0.0
