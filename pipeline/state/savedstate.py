"""What a restart resumes from: ring, reservoirs, the trainer's snapshot and every role's counters, in one state file.

The exporter writes it; at start ingest takes the ring from it, the trainer the rest, each into a region that is new.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.shm.rows import row_words
from pipeline.state import statefile
from pipeline.state.statefile import Rejected, Saved, Section, StateFileError


@dataclass(frozen=True, slots=True)
class SavedRows:
    """Rows of a region, float32[n, row_words], and the region's counter: the ring's head, a reservoir's groups seen."""

    words: NDArray[np.float32]
    count: int


@dataclass(frozen=True, slots=True)
class SavedState:
    """One saved state; a part that did not exist is None.

    `regions` holds `ring`, `reservoir` and `holdout` by name, `snapshot` the bytes of a handoff.TrainerSnapshot made
    from the base model `base_digest`, `reports` the bytes of each role's last report.
    """

    n_features: int
    base_digest: str = ""
    regions: dict[str, SavedRows] = field(default_factory=dict)
    snapshot: bytes | None = None
    reports: dict[str, bytes] = field(default_factory=dict)


def save(directory: Path, state: SavedState) -> list[Path]:
    """Write a state file, durably. Raises OSError when the disk refuses.

    Returns the new names of states that had to make room and were set aside, not removed: they are further on than
    `state`, of more samples or more steps.
    """
    sections: dict[str, Section] = {f"rows {name}": rows.words for name, rows in state.regions.items()}
    sections |= {f"report {role}": report for role, report in state.reports.items()}
    if state.snapshot is not None:
        sections["snapshot"] = state.snapshot
    meta = {
        "n_features": state.n_features,
        "base_digest": state.base_digest,
        "counts": {name: rows.count for name, rows in state.regions.items()},
        "step": _step(state.snapshot),
    }
    return statefile.write(directory, meta, sections, lambda old: _is_further(old, meta))[1]


def load(directory: Path) -> tuple[SavedState | None, list[Rejected]]:
    """Return the newest state that can be used, and the newer files that cannot. Changes nothing on disk.

    Where one of those is not broken but could not be read, the state is perhaps not the newest: ask again.
    """
    return statefile.newest(directory, parse)


def parse(saved: Saved) -> SavedState:
    """Return the state in a file. Raises StateFileError where it is not one of this version."""
    meta, sections = saved.meta, saved.sections
    try:
        n_features, counts = int(meta["n_features"]), dict(meta["counts"])
        regions = {name: SavedRows(_rows(sections[f"rows {name}"], n_features), counts[name]) for name in counts}
        reports = {
            name.removeprefix("report "): bytes(data) for name, data in sections.items() if name.startswith("report ")
        }
        snapshot = bytes(sections["snapshot"]) if "snapshot" in sections else None
        return SavedState(n_features, str(meta["base_digest"]), regions, snapshot, reports)
    except (LookupError, TypeError, ValueError) as error:
        raise StateFileError(f"{saved.path}: not a state of this version: {error!r}") from None


class _Step(msgspec.Struct):
    """The part of a handoff.TrainerSnapshot that says how far it is."""

    step: int = 0


def _step(snapshot: bytes | None) -> int:
    try:
        return 0 if snapshot is None else msgspec.msgpack.decode(snapshot, type=_Step).step
    except msgspec.DecodeError:
        return 0


def _is_further(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether the state with the first meta is of more samples or steps than that with the second."""
    try:
        samples = (int(meta["counts"].get("ring", 0)) for meta in (one, other))
        return next(samples) > next(samples) or int(one.get("step", 0)) > int(other.get("step", 0))
    except (AttributeError, LookupError, TypeError, ValueError):
        return False


def _rows(section: Any, n_features: int) -> NDArray[np.float32]:
    rows: NDArray[np.float32] = section
    if rows.dtype != np.float32 or rows.ndim != 2 or rows.shape[1] != row_words(n_features):
        raise ValueError(f"rows of shape {rows.shape} for {n_features} features")
    return rows
