"""The learning curve on disk: evaluations and checkpoints in one small SQLite file, written by the monitor alone.

Bounded: beyond `limit` evaluations, those are removed that are closest to their neighbours for their age. The last
minutes keep every evaluation, the distant past only some, and the first evaluation stays.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

NAME = "history.sqlite"
LIMIT = 3000
"""Evaluations kept."""

SAVE_INTERVAL_S = 30
"""Seconds between two writes: how far the file may be behind the sidecar."""

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
        rows = self._database.execute("SELECT id, at FROM evaluations ORDER BY id").fetchall()
        crowded = surplus([at for _, at in rows], self._limit)
        self._database.executemany("DELETE FROM evaluations WHERE id = ?", [(rows[place][0],) for place in crowded])

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
    """Return evaluations as the file would keep them."""
    crowded = surplus([evaluation[0] or 0.0 for evaluation in evaluations], limit)
    return [evaluation for place, evaluation in enumerate(evaluations) if place not in crowded]


def surplus(times: list[float], limit: int) -> set[int]:
    """Return which places to remove, so that at most nine tenths of `limit` are left; none up to `limit`."""
    kept = list(range(len(times)))
    while len(kept) > limit:
        kept = _without_crowded(kept, times, excess=len(kept) - limit * 9 // 10)
    return set(range(len(times))).difference(kept)


def _without_crowded(places: list[int], times: list[float], excess: int) -> list[int]:
    """Drop at most `excess` places, no two of them neighbours: the closest to its neighbours for its age goes first."""
    newest = times[places[-1]]

    def gap(i: int) -> float:
        return (times[places[i + 1]] - times[places[i - 1]]) / (1 + abs(newest - times[places[i]]))

    dropped: set[int] = set()
    for i in sorted(range(1, len(places) - 1), key=gap):
        if len(dropped) < excess and not dropped & {i - 1, i + 1}:
            dropped.add(i)
    return [place for i, place in enumerate(places) if i not in dropped]


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
