"""Health of the processes, judged from their reports: alive, progressing, and the sidecar's phase."""

from __future__ import annotations

import math
import time
from typing import Literal

import msgspec

from pipeline.runtime import kernel
from pipeline.runtime.reports import (
    ROLES,
    UNTRAINED,
    ArchiveReport,
    Board,
    ExporterReport,
    IngestReport,
    MonitorReport,
    PublisherReport,
    Report,
    TrainerReport,
    UplinkReport,
)

STALE_S = 15.0
"""A report older than this, in seconds, is no sign of progress."""

UNLIKE_RMSE = 50.0
"""A model that always says 50 is off by at most 50: where the base model is off by more, the features do not fit it."""

UNLIKE_ROWS = 500
"""Samples that are needed to say so."""

PIPELINE = ROLES[:3]
"""The roles without which there is no sidecar."""

OPTIONAL = ("publisher", "uplink")
"""The roles that only some sidecars have."""

Phase = Literal["initializing", "running", "paused", "failed"]
_NOT_YET_AT_WORK = {"starting", "initializing", "crash backoff"}


class RoleHealth(msgspec.Struct, frozen=True):
    """One process. `heartbeat_age` and `uptime` are in seconds; `restarts` counts the lives that ended unexpectedly.

    `suspended`: a signal (SIGSTOP) has halted it.
    """

    alive: bool
    progressing: bool
    suspended: bool
    phase: str
    problem: str
    pid: int
    restarts: int
    heartbeat_age: float
    uptime: float

    @property
    def failed(self) -> bool:
        """Whether it ended for good, dies again and again, cannot do its work, or shows no progress for too long."""
        silent = STALE_S < self.heartbeat_age < math.inf and not self.suspended and self.phase != "stopped"
        return silent or self.phase in {"failed", "crash backoff", "blocked"}


class Health(msgspec.Struct, frozen=True):
    """The whole sidecar at one moment; `roles` has the archive only where there is one."""

    roles: dict[str, RoleHealth]
    ingest: IngestReport
    trainer: TrainerReport
    exporter: ExporterReport
    archive: ArchiveReport
    monitor: MonitorReport
    publisher: PublisherReport = msgspec.field(default_factory=PublisherReport)
    uplink: UplinkReport = msgspec.field(default_factory=UplinkReport)

    @property
    def running(self) -> bool:
        """Whether any of the three pipeline processes is alive."""
        return any(self.roles[role].alive for role in PIPELINE)

    @property
    def healthy(self) -> bool:
        """Whether all three pipeline processes are alive and progressing."""
        return all(self.roles[role].progressing for role in PIPELINE)

    @property
    def ready(self) -> bool:
        """Whether samples are taken and the base model is loaded."""
        ingest, trainer = self.roles["ingest"], self.roles["trainer"]
        accepting = ingest.progressing and ingest.phase == "accepting"
        return accepting and trainer.alive and trainer.phase not in _NOT_YET_AT_WORK and bool(self.trainer.base_model)

    @property
    def phase(self) -> Phase:
        """The sidecar's phase, in the words that the operator's API knows."""
        roles = [self.roles[role] for role in PIPELINE]
        if any(role.failed for role in roles):
            return "failed"
        if any(role.suspended or role.phase == "paused" for role in roles):
            return "paused"
        at_work = all(role.progressing and role.phase not in _NOT_YET_AT_WORK for role in roles)
        return "running" if at_work else "initializing"

    @property
    def publishes(self) -> bool:
        """Whether a registry is pushed to, in this run."""
        return "publisher" in self.roles and bool(self.publisher.registry)

    def has_problem(self, role: str) -> bool:
        """Whether the process of `role` has a problem, though it may be working."""
        return bool(_problem(self.roles[role]))

    @property
    def problems(self) -> list[str]:
        """What is wrong, a line for each process that has a problem."""
        return [f"{role}: {text}" for role, state in self.roles.items() if (text := _problem(state))]


def examine(board: Board) -> Health:
    """Read all reports and judge them."""
    reports = (
        board.ingest(),
        board.trainer(),
        board.exporter(),
        board.archive(),
        board.publisher(),
        board.uplink(),
        board.monitor(),
    )
    restarts = reports[-1].restarts
    roles = {
        role: _judge(report, restarts.get(role, 0))
        for role, report in zip(ROLES, reports, strict=True)
        if report.pid or role not in OPTIONAL
    }
    if not (reports[0].archiving or roles["archive"].alive):
        del roles["archive"]
    trainer = roles["trainer"]
    if trainer.progressing and not trainer.problem:
        roles["trainer"] = msgspec.structs.replace(trainer, problem=_features_unlike(reports[1]))
    return Health(roles, *reports[:4], monitor=reports[6], publisher=reports[4], uplink=reports[5])


def _judge(report: Report, restarts: int) -> RoleHealth:
    now = time.monotonic()
    age = now - report.heartbeat if report.pid else math.inf
    state, _, born = kernel.look_at(report.pid)
    alive = report.phase != "stopped" and state not in {"", "Z", "X"} and born == report.born
    return RoleHealth(
        alive=alive,
        progressing=alive and age < STALE_S and report.phase not in {"failed", "crashed"},
        suspended=alive and state in {"T", "t"},
        phase=report.phase if alive or report.phase in {"stopped", "failed"} else "dead" if report.pid else "absent",
        problem=report.problem,
        pid=report.pid,
        restarts=restarts,
        heartbeat_age=round(age, 3),
        uptime=round(now - report.started, 3) if alive else 0.0,
    )


def _features_unlike(report: TrainerReport) -> str:
    """Say so if the base model is off by more than a constant could be, as with features in another order."""
    rmse, rows = report.metrics.get("prequential_base_rmse", 0.0), report.metrics.get("prequential_rows", 0)
    if report.base_model in {"", UNTRAINED} or rows < UNLIKE_ROWS or rmse <= UNLIKE_RMSE:
        return ""
    return (
        f"features do not look like those of the base model: on the newest {rows:,.0f} samples it is off by {rmse:.0f} "
        f"points (RMSE); compare their order and scale with what {report.base_model} expects"
    )


def _problem(state: RoleHealth) -> str:
    if state.problem:
        return state.problem
    if state.suspended:
        return "halted by a signal (SIGSTOP)"
    if state.phase == "dead":
        return "is dead"
    if state.alive and not state.progressing:
        return f"no sign of progress for {state.heartbeat_age:.0f} s"
    return ""
