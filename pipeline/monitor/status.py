"""The answers to `/status`, `/healthz` and `/readyz`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from pipeline.exporter import names
from pipeline.health import Health, RoleHealth

_LONGEST_PROBLEM = 300


def status(health: Health) -> dict[str, Any]:
    """Return the document that the Kubernetes operator polls; it is far below the 4096 bytes that it may have."""
    document: dict[str, Any] = {
        "phase": health.phase,
        "current_samples": health.ingest.accepted,
        "model_version": model_version(health),
        "stable_version": names.stem(health.exporter.stable_version) if health.exporter.stable_version else None,
        "step": health.trainer.step,
        "lag": health.trainer.lag,
        "problems": [problem[:_LONGEST_PROBLEM] for problem in health.problems],
    }
    if health.exporter.checkpoint_at:
        document["last_checkpoint_time"] = rfc3339(health.exporter.checkpoint_at)
    return document


def model_version(health: Health) -> str:
    """Return the newest checkpoint's name; before the first, the base model's."""
    if health.exporter.version:
        return names.stem(health.exporter.version)
    return Path(health.trainer.base_model).stem[:100]


def rfc3339(at: float) -> str:
    """Return a Unix time as RFC 3339 in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


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
