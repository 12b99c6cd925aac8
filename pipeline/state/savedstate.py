"""What a restart resumes from: ring, reservoirs, the trainer's snapshot and every role's counters, in one state file.

The exporter writes it; at start ingest takes the ring from it, the trainer the rest, each into a region that is new.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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


def save(directory: Path, state: SavedState) -> Path:
    """Write a state file, durably; return its path. Raises OSError when the disk refuses."""
    sections: dict[str, Section] = {f"rows {name}": rows.words for name, rows in state.regions.items()}
    sections |= {f"report {role}": report for role, report in state.reports.items()}
    if state.snapshot is not None:
        sections["snapshot"] = state.snapshot
    meta = {
        "n_features": state.n_features,
        "base_digest": state.base_digest,
        "counts": {name: rows.count for name, rows in state.regions.items()},
    }
    return statefile.write(directory, meta, sections)


def load(directory: Path) -> tuple[SavedState | None, list[Rejected]]:
    """Return the newest state that can be used, and the newer files that cannot. Changes nothing on disk."""
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


def _rows(section: Any, n_features: int) -> NDArray[np.float32]:
    rows: NDArray[np.float32] = section
    if rows.dtype != np.float32 or rows.ndim != 2 or rows.shape[1] != row_words(n_features):
        raise ValueError(f"rows of shape {rows.shape} for {n_features} features")
    return rows
