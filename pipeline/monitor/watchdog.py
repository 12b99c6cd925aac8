"""What to do about the pipeline's processes: restart one that hangs, end the sidecar when one is beyond restart."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING

from pipeline.lifecycle import ExitCode
from pipeline.monitor.events import Event
from pipeline.telemetry import Board, ExporterReport, IngestReport, Report, TrainerReport

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

_WATCHED: dict[str, type[Report]] = {"ingest": IngestReport, "trainer": TrainerReport, "exporter": ExporterReport}
# An exporter may sit in a slow disk's write for long without anything being wrong with it.
_PATIENCE = {"ingest": 1.0, "trainer": 1.0, "exporter": 6.0}
# A process that has not reported yet is importing; give it this many seconds at least.
_STARTUP_S = 60.0


class Watchdog:
    """Follows the supervisor's events and the heartbeats of the processes that run.

    `restarts` counts by role; `verdict` is the exit code that the sidecar has to end with, 0 while it need not.
    """

    def __init__(self, board: Board, hang_s: float, log: FilteringBoundLogger) -> None:
        self._board = board
        self._hang_s = hang_s
        self._log = log
        self._running: dict[str, tuple[int, float]] = {}
        self.restarts: dict[str, int] = {}
        self.verdict = 0

    def on_event(self, event: Event) -> None:
        """Take in one event of the supervisor."""
        role = event.payload.get("processname", "")
        if role not in _WATCHED or not event.name.startswith("PROCESS_STATE_"):
            return
        state = event.name.removeprefix("PROCESS_STATE_").lower()
        if state == "starting":
            return
        if state == "running":
            self._running[role] = (int(event.payload["pid"]), time.monotonic())
            return
        self._running.pop(role, None)
        if state in {"exited", "backoff", "fatal"}:
            self._on_end(role, state)

    def _on_end(self, role: str, state: str) -> None:
        report = self._board.read(role, _WATCHED[role])
        self._log.warning("process_ended", process=role, state=state, phase=report.phase, problem=report.problem)
        if report.ending or state == "fatal":
            self.verdict = report.ending or ExitCode.BEYOND_RESTART
        else:
            self.restarts[role] = self.restarts.get(role, 0) + 1

    def check_heartbeats(self) -> None:
        """Kill what runs without progress; the supervisor then starts it again."""
        now = time.monotonic()
        for role, (pid, since) in list(self._running.items()):
            report = self._board.read(role, _WATCHED[role])
            reported = report.pid == pid
            patience = self._hang_s * _PATIENCE[role]
            silent = now - (report.heartbeat if reported else since)
            if silent > (patience if reported else max(patience, _STARTUP_S)):
                self._log.error("process_hangs", process=role, pid=pid, silent_seconds=round(silent, 1))
                self._running.pop(role)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
