"""What the sidecar is doing now: for the page, and as a sentence."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from pipeline.monitor.status import archived, in_fleet, model_version, registry

if TYPE_CHECKING:
    from pipeline.monitor.record import Record
    from pipeline.monitor.usage import Usages
    from pipeline.runtime.health import Health


def live(health: Health, usages: Usages, record: Record, events: int) -> dict[str, Any]:
    """Return all that changes from moment to moment. `events` counts the log events so far."""
    ingest, trainer, exporter = health.ingest, health.trainer, health.exporter
    return {
        "now": time.time(),
        "phase": health.phase,
        "doing": doing(health),
        "problems": health.problems,
        "orders": trainer.orders,
        "samples": ingest.accepted,
        "resent": ingest.resent,
        "rejected": ingest.rejected,
        "clients": ingest.connections,
        "ring": min(ingest.accepted, ingest.capacity),
        "capacity": ingest.capacity,
        "lag": trainer.lag,
        "evicted_untrained": trainer.evicted_untrained,
        "step": trainer.step,
        "loss": trainer.loss,
        "drift_events": trainer.drift_events,
        "target_changes": trainer.target_changes,
        "base_model": trainer.base_model,
        "device": trainer.device,
        "figures": trainer.metrics,
        "model_version": model_version(health),
        "stable_version": exporter.stable_version,
        "checkpoint_at": exporter.checkpoint_at or None,
        "published": exporter.published,
        "archive": archived(health),
        "registry": registry(health),
        "fleet": in_fleet(health),
        "processes": [_process(role, health, usages) for role in health.roles],
        "events": events,
        "checkpoints": [len(record.checkpoints), exporter.version, exporter.stable_version],
    }


def _process(role: str, health: Health, usages: Usages) -> dict[str, Any]:
    state = health.roles[role]
    usage = usages.of(role, state.pid) if state.alive else None
    return {
        "role": role,
        "phase": state.phase,
        "well": state.progressing and not (state.suspended or state.failed),
        "pid": state.pid,
        "restarts": state.restarts,
        "uptime": state.uptime,
        "heartbeat_age": state.heartbeat_age,
        "problem": state.problem,
        "cpu_seconds": usage.cpu_seconds if usage else None,
        "memory": usage.memory if usage else None,
    }


def doing(health: Health) -> str:
    """Say in a sentence what the sidecar is doing."""
    trainer, ingest = health.trainer, health.ingest
    if not health.running:
        return "None of the three processes is running."
    if health.phase == "failed":
        return "Something is wrong: " + ("; ".join(health.problems) or "a process has been given up") + "."
    if health.phase == "paused":
        return "Training is paused: " + "; ".join(health.problems) + "."
    if health.phase == "initializing":
        waiting = "; ".join(health.problems)
        return f"Starting: {waiting}." if waiting else "Starting."
    if trainer.lag:
        return (
            f"Training on {trainer.base_model}: {trainer.lag:,} of {ingest.accepted:,} samples are not trained on yet."
        )
    if ingest.accepted == 0:
        return f"Ready with {trainer.base_model}, waiting for the first sample."
    if ingest.connections == 0 and not ingest.stream:
        return f"All {ingest.accepted:,} samples are trained on; no node is connected."
    return f"All {ingest.accepted:,} samples are trained on; waiting for the next."
