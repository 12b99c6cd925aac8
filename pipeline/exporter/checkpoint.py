"""`model_v000042.json`: what is known of a checkpoint beside its weights."""

import math
from pathlib import Path
from typing import Literal

import msgspec

from pipeline.durable import write_durably
from pipeline.exporter.names import file_of, published

State = Literal["stable", "unstable", "unproven"]


class CheckpointError(Exception):
    """A checkpoint that is not there, or whose sidecar cannot be read; the message says which and why."""


class Figures(msgspec.Struct, frozen=True):
    """How one model does on a gate set; a correlation that does not exist is None (null)."""

    rmse: float | None
    plcc: float | None
    srocc: float | None

    @classmethod
    def of(cls, rmse: float, plcc: float, srocc: float) -> "Figures":
        """Make figures of floats; NaN becomes None, which JSON can hold."""
        return cls(*(value if math.isfinite(value) else None for value in (rmse, plcc, srocc)))


class GateMetrics(msgspec.Struct, frozen=True):
    """What the gate measured on one gate set: its size, and the figures of candidate, base and last stable model."""

    samples: int
    groups: int
    candidate: Figures | None = None
    base: Figures | None = None
    stable: Figures | None = None


class Verdict(msgspec.Struct, frozen=True):
    """What the gate says of a candidate: the state, why in one sentence with figures, and metrics by gate set."""

    state: State
    reason: str
    metrics: dict[str, GateMetrics] = {}


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """The sidecar of one published model.

    `created` is RFC 3339 in UTC, `step` the trainer's step and `samples` the number ever ingested when its weights were
    taken; `base_model` and `base_sha256` name the self-contained base graph that it shares all but the weights with.
    """

    version: int
    sha256: str
    created: str
    step: int
    samples: int
    base_model: str
    base_sha256: str
    state: State
    reason: str
    metrics: dict[str, GateMetrics] = {}


def encode(checkpoint: Checkpoint) -> bytes:
    """Return the sidecar's JSON."""
    return msgspec.json.format(msgspec.json.encode(checkpoint), indent=2) + b"\n"


def read(directory: Path, version: int) -> Checkpoint:
    """Read a checkpoint's sidecar; raises CheckpointError."""
    path = file_of(directory, version, ".json")
    try:
        return msgspec.json.decode(path.read_bytes(), type=Checkpoint)
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: {error}") from None


def rewrite(directory: Path, checkpoint: Checkpoint) -> None:
    """Replace a checkpoint's sidecar, durably."""
    write_durably(file_of(directory, checkpoint.version, ".json"), encode(checkpoint))


def readable(directory: Path) -> list[Checkpoint]:
    """Return the published checkpoints with a readable sidecar, oldest first."""
    checkpoints = []
    for version in published(directory):
        try:
            checkpoints.append(read(directory, version))
        except CheckpointError:
            continue
    return checkpoints


def newest_stable(directory: Path) -> Checkpoint | None:
    """Return the newest checkpoint that is stable."""
    return next((each for each in reversed(readable(directory)) if each.state == "stable"), None)
