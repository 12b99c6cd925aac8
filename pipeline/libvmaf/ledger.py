"""What was sent of each log of a directory, so that no later watch sends it again."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pipeline.libvmaf.block import LogError

NAME = ".vmafx-sent.sqlite"
_HEAD = 4096
_SCHEMA = """
CREATE TABLE IF NOT EXISTS sent (
  name TEXT PRIMARY KEY, size INTEGER, changed_ns INTEGER, samples INTEGER, head BLOB, head_bytes INTEGER
)
"""


class Entry(NamedTuple):
    """A log as it was when the last of its samples was answered."""

    size: int
    changed_ns: int
    samples: int
    head: bytes
    head_bytes: int


class Ledger:
    """A small SQLite file, written after each log."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def entry(self, name: str) -> Entry | None:
        """Return what is known of a log."""
        columns = "size, changed_ns, samples, head, head_bytes"
        row = self._database.execute(f"SELECT {columns} FROM sent WHERE name = ?", [name]).fetchone()  # noqa: S608
        return Entry(*row) if row else None

    def record(self, path: Path, size: int, changed_ns: int, samples: int) -> None:
        """Note that `samples` samples of a log of this size were answered."""
        head = _digest(path, min(size, _HEAD))
        row = (path.name, size, changed_ns, samples, head, min(size, _HEAD))
        with self._database:
            self._database.execute("INSERT OR REPLACE INTO sent VALUES (?, ?, ?, ?, ?, ?)", row)


@contextlib.contextmanager
def opened(directory: Path) -> Iterator[Ledger]:
    """Open the ledger of a directory, made where there is none; LogError where it cannot be used."""
    path = directory / NAME
    try:
        with contextlib.closing(sqlite3.connect(path)) as database:
            with database:
                database.execute(_SCHEMA)
            yield Ledger(database)
    except sqlite3.Error as error:
        raise LogError(f"{path}: {error}; what was sent is noted there") from None


def has_grown(path: Path, size: int, entry: Entry) -> bool:
    """Tell whether a log of `size` bytes begins with all that was sent of it, and is not another one of its name."""
    return size > entry.size and _digest(path, entry.head_bytes) == entry.head


def _digest(path: Path, length: int) -> bytes:
    """Return the digest of a file's first bytes; nothing where they cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.sha256(file.read(length)).digest()
    except OSError:
        return b""
