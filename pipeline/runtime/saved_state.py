"""What a restart resumes from: ring, reservoirs, the trainer's snapshot and every role's counters, in one state file.

The exporter writes it; at start ingest takes the ring from it, the trainer the rest, each into a region that is new.
The newest state of each other base model that was trained here lies beside it, in case that one comes back.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.runtime import messages, state_file
from pipeline.runtime.durable import sync_directory, write_durably
from pipeline.runtime.state_file import Rejected, Saved, Section, StateFileError
from pipeline.shm.rows import of_this_layout

BEFORE_RESET = "before-reset"
KEPT_BASES = 4
"""Other base models whose states are kept."""


@dataclass(frozen=True, slots=True)
class SavedRows:
    """Rows of a region, float32[n, row_words], and the region's counter: the ring's head, a reservoir's groups seen."""

    words: NDArray[np.float32]
    count: int


@dataclass(frozen=True, slots=True)
class SavedState:
    """One saved state; a part that did not exist is None.

    `regions` holds `ring`, `reservoir` and `holdout` by name, `snapshot` the bytes of a messages.TrainerSnapshot made
    from the base model `base_digest`, `reports` the bytes of each role's last report, `ring` the ring's identity,
    `names` the bytes of messages.Names. `stream`: in a pool, the bytes of messages.StreamPosition, which is never ahead
    of the ring.
    """

    n_features: int
    base_digest: str = ""
    regions: dict[str, SavedRows] = field(default_factory=dict)
    snapshot: bytes | None = None
    reports: dict[str, bytes] = field(default_factory=dict)
    ring: int = 0
    names: bytes = b""
    stream: bytes = b""

    def trained(self) -> messages.TrainerSnapshot | None:
        """Return the snapshot, decoded; None where there is none. Raises msgspec.MsgspecError where it is none."""
        return None if self.snapshot is None else messages.decode_snapshot(self.snapshot)


def save(directory: Path, state: SavedState) -> list[Path]:
    """Write a state file, durably. Raises OSError when the disk refuses.

    Returns the new names of states that had to make room and were set aside, not removed: they are further on than
    `state`, of more samples or more steps.
    """
    meta, sections = _packed(state)
    return state_file.write(directory, meta, sections, lambda old: _is_further(old, meta))[1]


def rewrite(path: Path, state: SavedState) -> None:
    """Replace one state file by another state, durably. Raises OSError."""
    write_durably(path, *state_file.encoded(*_packed(state)), mode=0o600)


def _packed(state: SavedState) -> tuple[dict[str, Any], dict[str, Section]]:
    sections: dict[str, Section] = {f"rows {name}": rows.words for name, rows in state.regions.items()}
    sections |= {f"report {role}": report for role, report in state.reports.items()}
    if state.snapshot is not None:
        sections["snapshot"] = state.snapshot
    if state.names:
        sections["names"] = state.names
    if state.stream:
        sections["stream"] = state.stream
    meta = {
        "n_features": state.n_features,
        "base_digest": state.base_digest,
        "ring": state.ring,
        "counts": {name: rows.count for name, rows in state.regions.items()},
        "step": _step(state.snapshot),
    }
    return meta, sections


def load(directory: Path) -> tuple[SavedState | None, list[Rejected]]:
    """Return the newest state that can be used, and the newer files that cannot. Changes nothing on disk.

    Where one of those is not broken but could not be read, the state is perhaps not the newest: ask again.
    """
    return state_file.newest(directory, parse)


def keep_for_its_base(directory: Path) -> None:
    """Let the newest state file that is whole stay, under its base model's name. Raises OSError.

    One of that name that is further on, or that cannot be read, is set aside.
    """
    newest, _ = state_file.newest(directory, lambda saved: saved)
    if newest is None:
        return
    kept = _of_base(directory, str(newest.meta["base_digest"]))
    try:
        if _is_further(state_file.read(kept).meta, newest.meta):
            state_file.set_aside(kept)
    except FileNotFoundError:
        pass
    except (OSError, StateFileError):
        state_file.set_aside(kept)
    link = kept.with_name(f".state-{kept.name}.tmp")
    link.unlink(missing_ok=True)
    link.hardlink_to(newest.path)
    link.replace(kept)
    for old in sorted(of_other_bases(directory), key=lambda path: path.stat().st_ctime_ns)[:-KEPT_BASES]:
        old.unlink(missing_ok=True)
    sync_directory(directory)


def set_all_aside(directory: Path) -> list[Path]:
    """Move every state file into `before-reset`, replacing what is there; return the new paths."""
    present = [*state_file.files(directory), *of_other_bases(directory)]
    aside = directory / BEFORE_RESET
    if present:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(mode=0o700)
    return [path.replace(aside / path.name) for path in present]


def of_base(directory: Path, base_digest: str) -> SavedState | None:
    """Return the state that is kept of a base model; None where there is none. Raises OSError or StateFileError."""
    try:
        return parse(state_file.read(_of_base(directory, base_digest)))
    except FileNotFoundError:
        return None


def of_other_bases(directory: Path) -> list[Path]:
    """Return the files of the states that are kept of base models."""
    return sorted(directory.glob(_of_base(directory, "?" * 16).name))


def _of_base(directory: Path, base_digest: str) -> Path:
    return directory / f"base-{base_digest[:16]}.bin"


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
        ring = int(meta.get("ring", 0))
        names, stream = bytes(sections.get("names", b"")), bytes(sections.get("stream", b""))
        return SavedState(n_features, str(meta["base_digest"]), regions, snapshot, reports, ring, names, stream)
    except (LookupError, TypeError, ValueError) as error:
        raise StateFileError(f"{saved.path}: not a state of this version: {error!r}") from None


class _Step(msgspec.Struct):
    """The part of a messages.TrainerSnapshot that says how far it is."""

    step: int = 0


def _step(snapshot: bytes | None) -> int:
    try:
        return 0 if snapshot is None else msgspec.msgpack.decode(snapshot, type=_Step).step
    except msgspec.DecodeError:
        return 0


def _is_further(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether the state with the first meta is of more samples or steps than that with the second.

    Those of different base models are not compared: each is kept under its own name.
    """
    try:
        if other["base_digest"] not in {"", one["base_digest"]}:
            return False
        samples = (int(meta["counts"].get("ring", 0)) for meta in (one, other))
        return next(samples) > next(samples) or int(one.get("step", 0)) > int(other.get("step", 0))
    except (AttributeError, LookupError, TypeError, ValueError):
        return False


def _rows(section: Any, n_features: int) -> NDArray[np.float32]:
    rows: NDArray[np.float32] = section
    if rows.dtype == np.float32 and rows.ndim == 2:
        converted = of_this_layout(rows, n_features)
        if converted is not None:
            return converted
    raise ValueError(f"rows of shape {rows.shape} for {n_features} features")
