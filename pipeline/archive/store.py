"""The archive on disk: its files, what is in them, and which have to go. Whole files only, at any moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec

from pipeline.archive import names, position, table
from pipeline.archive.batch import Batch
from pipeline.archive.names import Part
from pipeline.archive.position import Position
from pipeline.runtime.durable import remove_leftovers, sync_directory, write_durably
from pipeline.runtime.locks import Claim
from pipeline.runtime.logs import Logger


@dataclass(frozen=True, slots=True)
class Overview:
    """How many files the archive has, their bytes, and how many were removed just now."""

    files: int
    size: int
    removed: int


class Store:
    """Writes into the directory `root`, of which it is the only writer. Every method raises OSError.

    `days` and `size` bound what is kept; 0: not bounded.
    """

    def __init__(self, root: Path, days: int, size: int, log: Logger) -> None:
        self._root, self._days, self._size = root, days, size
        self._log = log
        self._claim = Claim(root, ".archive.lock", "VMAFX_SIDECAR_ARCHIVE_DIR")

    def open(self) -> Position:
        """Make sure that no other sidecar writes here, and return how far the archive is.

        The directory is made where its parent is there. Later it is not: one that is gone may come back.
        """
        if not self._root.is_dir():
            self._root.mkdir(mode=0o700)
            sync_directory(self._root.parent)
        self._claim.hold()
        for directory in self._root.glob(names.PARTS):
            remove_leftovers(directory, "part-*")
        remove_leftovers(self._root, f"{position.FILE}.*")
        try:
            return position.read(self._root) or Position()
        except msgspec.MsgspecError as error:
            self._log.error("position_unusable", reason=f"{self._root / position.FILE}: {error}")
            return Position()

    def close(self) -> None:
        """Let another write here."""
        self._claim.release()

    def write(self, batch: Batch, reached: Position) -> None:
        """Write the files of a batch, and then that it is done: what a write before this one had done stays."""
        self._claim.hold()
        for directory, samples in batch.by_directory.items():
            path = self._made(directory)
            missing = samples.after(_last(path, batch.ring))
            if missing.sequences:
                name = names.file_name(batch.ring, missing.sequences[0], missing.sequences[-1])
                write_durably(path / name, table.parquet(missing, batch.n_features), mode=0o600)
        position.write(self._root, reached)

    def prune(self) -> Overview:
        """Remove the files that are too old, then the oldest of those that are too many."""
        self._claim.hold()
        today = datetime.now(UTC).date()
        oldest_kept = today - timedelta(self._days) if self._days else date.min
        sizes = {part: part.path.stat().st_size for part in names.parts(self._root)}
        late = {part: "days" for part in sizes if part.date < oldest_kept.isoformat()}
        total = sum(size for part, size in sizes.items() if part not in late)
        for part in sorted(sizes.keys() - late.keys(), key=_age):
            if not self._size or total <= self._size:
                break
            late[part] = "bytes"
            total -= sizes[part]
        self._remove(late, sizes)
        return Overview(len(sizes) - len(late), total, len(late))

    def _made(self, directory: str) -> Path:
        path = self._root
        for name in directory.split("/"):
            path /= name
            if not path.is_dir():
                path.mkdir(mode=0o700)
                sync_directory(path.parent)
        return path

    def _remove(self, late: dict[Part, str], sizes: dict[Part, int]) -> None:
        gone: dict[tuple[Path, str], list[int]] = {}
        for part, reason in late.items():
            part.path.unlink(missing_ok=True)
            gone.setdefault((part.path.parent, reason), []).append(sizes[part])
        for (directory, reason), bytes_of in gone.items():
            name = str(directory.relative_to(self._root))
            self._log.info("archive_removed", directory=name, files=len(bytes_of), bytes=sum(bytes_of), reason=reason)
            if not any(directory.iterdir()):
                directory.rmdir()


def _last(directory: Path, ring: int) -> int:
    """Return the newest sample of a ring that a directory has; -1 where it has none."""
    return max((part.last for part in names.parts_of(directory) if part.ring == ring), default=-1)


def _age(part: Part) -> tuple[str, int, int]:
    return part.date, part.path.stat().st_mtime_ns, part.first
