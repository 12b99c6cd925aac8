"""`model_v000042.json`: what is known of a checkpoint beside its weights."""

import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

from pipeline.checkpoints.names import file_of, published
from pipeline.runtime.durable import open_regular, write_durably

State = Literal["stable", "unstable", "unproven"]

_LIMIT = 1 << 20
_DIGEST = re.compile("[0-9a-f]{64}")


class CheckpointError(Exception):
    """A checkpoint that is not there, or whose sidecar cannot be read; the message says which and why."""


class Figures(msgspec.Struct, frozen=True):
    """The `agreement` of one model's predictions with the scores of a gate set; null where a figure does not exist."""

    rmse: float | None
    plcc: float | None
    srocc: float | None
    srocc_under_99: float | None = None

    @classmethod
    def of(cls, agreement: Mapping[str, float]) -> "Figures":
        """Make what a file can hold of `accuracy.agreement`: None for what is not finite."""
        return cls(**{name: value if math.isfinite(value) else None for name, value in agreement.items()})


class Part(msgspec.Struct, frozen=True):
    """RMSE of candidate and base model on some of the rows of a gate set; null where it does not exist."""

    samples: int
    candidate: float | None
    base: float | None


class GateMetrics(msgspec.Struct, frozen=True):
    """What the gate measured on one gate set: its size, and the figures of candidate, base and last stable model.

    `by` has figures by kind (codec, node, tenant, height) and name, where rows say whose they are.
    """

    samples: int
    groups: int
    candidate: Figures | None = None
    base: Figures | None = None
    stable: Figures | None = None
    by: dict[str, dict[str, Part]] = {}


class Verdict(msgspec.Struct, frozen=True):
    """What the gate says of a candidate: the state, why in one sentence with figures, and metrics by gate set."""

    state: State
    reason: str
    metrics: dict[str, GateMetrics] = {}


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """The sidecar of one published model.

    `created` is RFC 3339 in UTC, `step` the trainer's step and `samples` the number ever ingested when its weights were
    taken; `base_model` and `base_sha256` name the self-contained base graph that it shares all but the weights with.
    `origin` is the name in a registry of a model that was made elsewhere; empty for one of this training.
    `features`, `feature_mean` and `feature_std` are what the base model's own `.json` says that it takes, for the whole
    flat vector; empty where it says nothing.
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
    origin: str = ""
    features: tuple[str, ...] = ()
    feature_mean: tuple[float, ...] = ()
    feature_std: tuple[float, ...] = ()


def encode(checkpoint: Checkpoint) -> bytes:
    """Return the sidecar's JSON."""
    return msgspec.json.format(msgspec.json.encode(checkpoint), indent=2) + b"\n"


def read(directory: Path, version: int) -> Checkpoint:
    """Read a checkpoint's sidecar; raises CheckpointError, also where a value cannot be."""
    path = file_of(directory, version, ".json")
    try:
        with open_regular(path) as file:
            checkpoint = msgspec.json.decode(file.read(_LIMIT), type=Checkpoint)
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CheckpointError(f"{path}: {error}") from None
    wrong = next(_wrong(checkpoint, version), None)
    if wrong is not None:
        raise CheckpointError(f"{path}: {wrong}")
    return checkpoint


def _wrong(checkpoint: Checkpoint, version: int) -> Iterator[str]:
    if checkpoint.version != version:
        yield f"version {checkpoint.version}, expected {version}"
    if not _DIGEST.fullmatch(checkpoint.sha256):
        yield f"sha256 {checkpoint.sha256[:80]!r}, expected 64 lower-case hex digits"
    for name in ("step", "samples"):
        if not 0 <= getattr(checkpoint, name) < 2**63:
            yield f"{name} {getattr(checkpoint, name)}, expected a count"
    try:
        created = datetime.fromisoformat(checkpoint.created)
        usable = created.tzinfo is not None and created.timestamp() >= 0
    except (ValueError, OverflowError):
        usable = False
    if not usable:
        yield f"created {checkpoint.created[:80]!r}, expected a time such as 2026-05-28T12:34:56Z"


def rewrite(directory: Path, checkpoint: Checkpoint) -> None:
    """Replace a checkpoint's sidecar, durably."""
    write_durably(file_of(directory, checkpoint.version, ".json"), encode(checkpoint))


def read_all(directory: Path) -> tuple[dict[int, Checkpoint], dict[int, str]]:
    """Return the published checkpoints by version, ascending, and why the sidecars of the others cannot be used."""
    checkpoints: dict[int, Checkpoint] = {}
    unreadable: dict[int, str] = {}
    for version in published(directory):
        try:
            checkpoints[version] = read(directory, version)
        except CheckpointError as error:
            unreadable[version] = str(error)
    return checkpoints, unreadable
