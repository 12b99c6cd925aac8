"""The answers to `/status`, `/healthz` and `/readyz`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from pipeline.checkpoints import names
from pipeline.runtime.health import Health, RoleHealth
from pipeline.runtime.reports import rfc3339

LIMIT = 4096
"""The operator reads fewer bytes of an answer than this."""

_MOST_SAMPLES = 2**31 - 1
_LONGEST_PROBLEM = 300
_MOST_ORDERS = 3


class Status:
    """The answer to `/status`, as the Kubernetes operator reads it.

    It takes every change of `last_checkpoint_time` for a new checkpoint. So the last value stays while the exporter
    restarts, and when the newest checkpoint is older than one that was removed.
    """

    def __init__(self) -> None:
        self._checkpoint_at = 0.0

    def answer(self, health: Health) -> bytes:
        """Return JSON of less than LIMIT bytes, whatever the problems are."""
        self._checkpoint_at = max(self._checkpoint_at, health.exporter.checkpoint_at)
        return _fitting(status(health, self._checkpoint_at))


def status(health: Health, checkpoint_at: float) -> dict[str, Any]:
    """Return what the operator is told; `checkpoint_at` is the Unix time of the newest checkpoint, 0 for none."""
    document: dict[str, Any] = {
        "phase": health.phase,
        "current_samples": min(health.ingest.accepted, _MOST_SAMPLES),
        "model_version": (health.publishes and health.publisher.pushed) or model_version(health),
        "stable_version": names.stem(health.exporter.stable_version) if health.exporter.stable_version else None,
        "step": health.trainer.step,
        "lag": health.trainer.lag,
    }
    if health.exporter.version:
        document["verdict"] = _verdict(health)
    if (archive := archived(health)) is not None:
        document["archive"] = archive
    if (there := registry(health)) is not None:
        document["registry"] = there
    if (fleet := in_fleet(health)) is not None:
        document["fleet"] = fleet
    if health.trainer.orders:
        document["orders"] = _few(health.trainer.orders)
    if checkpoint_at:
        document["last_checkpoint_time"] = rfc3339(checkpoint_at)
    return document | {"problems": [problem[:_LONGEST_PROBLEM] for problem in health.problems]}


def archived(health: Health) -> dict[str, int] | None:
    """Return how far the archive is, in samples; None where there is none."""
    if "archive" not in health.roles:
        return None
    report = health.archive
    return {"archived": report.archived, "waiting": report.waiting, "missed": report.missed}


def in_fleet(health: Health) -> dict[str, int | str] | None:
    """Return what is shared with a fleet, or comes from it; None where there is none."""
    if health.ingest.stream:
        pool = health.ingest
        said: dict[str, int | str] = {"unread": pool.unread, "senders": pool.senders, "lost": pool.lost}
        failing, since = pool.failing, pool.failing_since
    elif "uplink" in health.roles:
        uplink = health.uplink
        said = {"sent": uplink.sent, "left_out": uplink.left_out, "dropped": uplink.missed, "behind": uplink.behind}
        failing, since = uplink.failing, uplink.failing_since
    else:
        return None
    return said | ({"failing": failing, "failing_since": rfc3339(since)} if failing else {})


def _verdict(health: Health) -> dict[str, str]:
    """Return what the gate said of the newest checkpoint."""
    return {"state": health.exporter.latest_state, "reason": health.exporter.latest_reason[:_LONGEST_PROBLEM]}


def registry(health: Health) -> dict[str, str] | None:
    """Return what is in the registry, what is wrong with it and since when, and whether it has a newer base model.

    None where there is no registry.
    """
    if "publisher" not in health.roles:
        return None
    report = health.publisher
    said = {
        "pointed": report.pointed,
        "newest_version": names.stem(report.pointed_version) if report.pointed_version else "",
        "pushed_version": names.stem(report.pushed_version) if report.pushed_version else "",
        "pushed_at": rfc3339(report.pushed_at) if report.pushed_at else "",
        "failing": report.failing,
        "failing_since": rfc3339(report.failing_since) if report.failing else "",
        "waiting_since": rfc3339(report.waiting_since) if report.waiting_since else "",
        "newer_base_model": report.newer_base,
    }
    return {name: value for name, value in said.items() if value}


def _few(lines: list[str]) -> list[str]:
    """Return the first lines, each cut, and how many more there are."""
    more = [f"and {len(lines) - _MOST_ORDERS} more"] if len(lines) > _MOST_ORDERS else []
    return [line[:_LONGEST_PROBLEM] for line in lines[:_MOST_ORDERS]] + more


def _fitting(document: dict[str, Any]) -> bytes:
    """Encode the document with as many of its problems as there is room for."""
    problems, kept = document["problems"], len(document["problems"])
    while True:
        more = [f"and {len(problems) - kept} more"] if kept < len(problems) else []
        encoded = msgspec.json.encode(document | {"problems": problems[:kept] + more})
        if len(encoded) < LIMIT:
            return encoded
        kept -= 1


def model_version(health: Health) -> str:
    """Return the newest checkpoint's name; before the first, the base model's."""
    if health.exporter.version:
        return names.stem(health.exporter.version)
    return Path(health.trainer.base_model).stem[:100]


def liveness(health: Health) -> tuple[bool, str]:
    """Return whether all three processes are alive and progressing, and a line on each."""
    lines = (_line(role, state) for role, state in health.roles.items() if role != "monitor")
    return health.healthy, "\n".join(lines) + "\n"


def _line(role: str, state: RoleHealth) -> str:
    if state.progressing:
        return f"{role}: ok ({state.phase})" + (f"; {state.problem}" if state.problem else "")
    return f"{role}: {state.problem or 'no sign of progress'} ({state.phase})"


def readiness(health: Health) -> tuple[bool, str]:
    """Return whether samples are taken and the base model is loaded, and a line on it."""
    problems = "; ".join(health.problems)
    if health.ready:
        return True, f"ready; {problems}\n" if problems else "ready\n"
    return False, f"not ready: {problems or 'starting'}\n"
