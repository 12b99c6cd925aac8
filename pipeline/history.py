"""The learning curve on disk: evaluations and checkpoints in one small SQLite file, written by the monitor alone.

Bounded: when there are more than `limit` evaluations, every second one of the older half goes, so the recent past stays
fine and the distant past becomes coarse.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

NAME = "history.sqlite"
LIMIT = 3000
"""Evaluations kept."""

CHECKPOINT_LIMIT = 300
"""Checkpoints kept."""

FIGURES = tuple(
    f"{kind}_{model}_{figure}"
    for kind in ("prequential", "held_out")
    for model in ("ema", "base", "stable")
    for figure in ("rmse", "plcc")
)
"""The trainer's figures that are kept, by the names of its report."""

COLUMNS = ("at", "samples", "step", "lag", "ring", "loss", *FIGURES)
"""What an evaluation has: Unix seconds, counts, then figures; None for a figure that did not exist."""

Evaluation = tuple[float | None, ...]
_SCHEMA_VERSION = 1
_SCHEMA = f"""
CREATE TABLE evaluations (id INTEGER PRIMARY KEY, {", ".join(f"{column} REAL" for column in COLUMNS)});
CREATE TABLE checkpoints (version INTEGER PRIMARY KEY, sidecar TEXT NOT NULL);
PRAGMA user_version = {_SCHEMA_VERSION};
"""
_INSERT = f"INSERT INTO evaluations ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608
_SELECT = f"SELECT {', '.join(COLUMNS)} FROM evaluations ORDER BY id"  # noqa: S608  names of our own
_THIN = """
DELETE FROM evaluations WHERE id IN (
    SELECT id FROM (SELECT id, row_number() OVER (ORDER BY id) AS place FROM evaluations ORDER BY id LIMIT ?)
    WHERE place % 2)
"""
_FORGET = "DELETE FROM checkpoints WHERE version <= (SELECT max(version) FROM checkpoints) - ?"


class HistoryError(Exception):
    """The history cannot be read or written; the message says which file and why."""


class History:
    """An open history file."""

    def __init__(self, database: sqlite3.Connection, limit: int = LIMIT) -> None:
        self._database = database
        self._limit = limit

    @property
    def is_empty(self) -> bool:
        """Whether there is no evaluation."""
        return self._database.execute("SELECT 1 FROM evaluations LIMIT 1").fetchone() is None

    def evaluations(self) -> list[Evaluation]:
        """Return all evaluations, oldest first."""
        return list(self._database.execute(_SELECT))

    def checkpoints(self) -> list[bytes]:
        """Return the sidecars of the checkpoints as JSON, oldest first."""
        return [text.encode() for (text,) in self._database.execute("SELECT sidecar FROM checkpoints ORDER BY version")]

    def add(self, evaluations: Sequence[Evaluation]) -> None:
        """Append evaluations, and thin out where there are too many."""
        self._database.executemany(_INSERT, evaluations)
        while (count := self._database.execute("SELECT count(*) FROM evaluations").fetchone()[0]) > self._limit:
            self._database.execute(_THIN, (count // 2,))

    def put(self, checkpoints: Iterable[tuple[int, bytes]]) -> None:
        """Insert or replace checkpoints by version; sidecars are JSON."""
        rows = [(version, sidecar.decode()) for version, sidecar in checkpoints]
        self._database.executemany("INSERT OR REPLACE INTO checkpoints VALUES (?, ?)", rows)
        self._database.execute(_FORGET, (CHECKPOINT_LIMIT,))


@contextlib.contextmanager
def opened(path: Path, *, limit: int = LIMIT, write: bool = False) -> Iterator[History]:
    """Open the history at `path`; with `write`, make it where there is none, and commit at the end.

    Raises HistoryError; a file that is no history of this version is set aside first where writing.
    """
    if write and path.exists() and not _is_ours(path):
        path.replace(path.with_suffix(".unreadable"))
    try:
        with contextlib.closing(_connect(path, write=write)) as database, database:
            yield History(database, limit)
    except sqlite3.Error as error:
        raise HistoryError(f"{path}: {error}") from None


def thinned(evaluations: list[Evaluation], limit: int = LIMIT) -> list[Evaluation]:
    """Return evaluations as the file would keep them: no more than `limit`."""
    while len(evaluations) > limit:
        half = len(evaluations) // 2
        evaluations = evaluations[1:half:2] + evaluations[half:]
    return evaluations


def _connect(path: Path, *, write: bool) -> sqlite3.Connection:
    mode = "rwc" if write else "ro"
    database = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=5.0)
    if write and _version(database) == 0:
        database.executescript(_SCHEMA)
    return database


def _is_ours(path: Path) -> bool:
    try:
        with contextlib.closing(_connect(path, write=False)) as database:
            return _version(database) == _SCHEMA_VERSION
    except sqlite3.DatabaseError as error:
        return isinstance(error, sqlite3.OperationalError)


def _version(database: sqlite3.Connection) -> int:
    version: int = database.execute("PRAGMA user_version").fetchone()[0]
    return version
