"""The processes of one instance: alive and progressing, and their counters in line with each other."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.fsck.finding import Finding
from pipeline.runtime.health import Health, RoleHealth, examine
from pipeline.runtime.reports import Board


def check(board: Board) -> Iterator[Finding]:
    """Look at each process; those of a sidecar that is stopped are as they should be."""
    health = examine(board)
    for role, state in health.roles.items():
        if role != "monitor":
            yield _process(role, state, running=health.running)
    yield _counters(health)


def _process(role: str, state: RoleHealth, *, running: bool) -> Finding:
    if not running:
        return Finding(role, True, f"not running, phase {state.phase}")
    detail = f"{state.phase}, restarted {state.restarts} times, report {state.heartbeat_age:.1f} s old"
    return Finding(role, state.progressing, f"{detail}{f': {state.problem}' if state.problem else ''}")


def _counters(health: Health) -> Finding:
    ingest, trainer, exporter = health.ingest, health.trainer, health.exporter
    published = exporter.samples_at_checkpoint
    detail = f"{ingest.accepted:,} accepted, {trainer.cursor:,} observed, {published:,} at the newest checkpoint"
    return Finding("counters", published <= max(trainer.cursor, ingest.accepted) or not ingest.pid, detail)
