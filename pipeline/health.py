"""Health of the processes, judged from their reports: alive and progressing."""

from __future__ import annotations

import os
import time

import msgspec

from pipeline.telemetry import ROLES, Board, ExporterReport, IngestReport, MonitorReport, Report, TrainerReport

STALE_S = 10.0
"""A report older than this, in seconds, is no sign of progress."""


class RoleHealth(msgspec.Struct, frozen=True):
    """One process. `heartbeat_age` is in seconds; `restarts` counts the lives before this one."""

    alive: bool
    progressing: bool
    phase: str
    problem: str
    pid: int
    restarts: int
    heartbeat_age: float
    uptime: float


class Health(msgspec.Struct, frozen=True):
    """The whole sidecar at one moment."""

    roles: dict[str, RoleHealth]
    ingest: IngestReport
    trainer: TrainerReport
    exporter: ExporterReport
    monitor: MonitorReport

    @property
    def running(self) -> bool:
        """Whether any of the three pipeline processes is alive."""
        return any(self.roles[role].alive for role in ROLES[:3])

    @property
    def healthy(self) -> bool:
        """Whether all three pipeline processes are alive and progressing."""
        return all(self.roles[role].progressing for role in ROLES[:3])


def examine(board: Board) -> Health:
    """Read all reports and judge them."""
    reports = (board.ingest(), board.trainer(), board.exporter(), board.monitor())
    roles = {role: _judge(report) for role, report in zip(ROLES, reports, strict=True)}
    return Health(roles, *reports)


def _judge(report: Report) -> RoleHealth:
    now = time.monotonic()
    age = now - report.heartbeat if report.pid else float("inf")
    alive = report.phase != "stopped" and _exists(report.pid)
    return RoleHealth(
        alive=alive,
        progressing=alive and age < STALE_S and report.phase not in {"failed", "crashed"},
        phase=report.phase if alive or report.phase == "stopped" else "dead" if report.pid else "never started",
        problem=report.problem,
        pid=report.pid,
        restarts=max(0, report.lives - 1),
        heartbeat_age=round(age, 3),
        uptime=round(now - report.started, 3) if alive else 0.0,
    )


def _exists(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
