"""What an operator does to published checkpoints: pin, unpin, roll back. Each holds the directory for the change.

Nothing is removed here: how many checkpoints stay is the running exporter's setting.
"""

from datetime import UTC, datetime
from pathlib import Path

import msgspec

from pipeline.checkpoints import checkpoint as sidecar
from pipeline.checkpoints import pins
from pipeline.checkpoints.checkpoint import Checkpoint, CheckpointError
from pipeline.checkpoints.names import published, stem
from pipeline.checkpoints.reconcile import Overview, reconcile
from pipeline.runtime.locks import locked


def pin(directory: Path, version: int) -> None:
    """Exempt a published version from retention. Raises CheckpointError if it is not published."""
    with locked(directory):
        if version not in published(directory):
            raise CheckpointError(f"{directory}: {stem(version)} is not published")
        pins.write(directory, pins.read(directory) | {version})


def unpin(directory: Path, version: int) -> None:
    """Remove the exemption of a version from retention. Raises CheckpointError if it is not pinned."""
    with locked(directory):
        pinned = pins.read(directory)
        if version not in pinned:
            raise CheckpointError(f"{directory}: {stem(version)} is not pinned")
        pins.write(directory, pinned - {version})


def stable(directory: Path) -> Checkpoint:
    """Return the checkpoint that `latest-stable` leads to. Raises CheckpointError where there is none."""
    with locked(directory):
        return _stable(directory)


def _stable(directory: Path) -> Checkpoint:
    found = reconcile(directory, keep=None, base=None)
    if found.stable is None:
        raise CheckpointError(found.incomparable or f"{directory}: no checkpoint is stable")
    return found.stable


def roll_back(directory: Path) -> tuple[Checkpoint, Overview]:
    """Withdraw the checkpoint that `latest-stable` leads to; return it, and what is there then.

    It is marked unstable, and stays where it is; the pointer goes to the one before of the same base model. Raises
    CheckpointError where there is none to withdraw, OSError where that cannot be done.
    """
    with locked(directory):
        bad = _stable(directory)
        when = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        reason = f"Withdrawn by an operator at {when}; before: {bad.reason}"
        sidecar.rewrite(directory, msgspec.structs.replace(bad, state="unstable", reason=reason))
        after = reconcile(directory, keep=None, base=bad.base_sha256)
    for problem in after.problems:
        if isinstance(problem, OSError):
            raise problem
    return bad, after
