"""Reads a corpus in whichever format its file has."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.corpus.archived import ArchiveTable, is_archive
from pipeline.corpus.packed import PackedTable
from pipeline.corpus.table import (
    ABOUT,
    Corpus,
    CorpusError,
    Table,
    converted,
    corpus_from,
    joined,
    own_features,
    taken_by,
)
from pipeline.model.features import Features, listed
from pipeline.model.mos import FIVE_GRADES, SUBJECTIVE, Scale
from pipeline.runtime.extras import lacking

if TYPE_CHECKING:
    from _csv import Reader

Choice = Callable[[Table], Sequence[str]]
"""Says which columns of a table are to be its features. Raises CorpusError."""

_LINES_AT_A_TIME = 4096


def load_corpus(
    path: Path,
    choose: Choice = own_features,
    targets: Iterable[str] = (),
    mos_range: Scale = FIVE_GRADES,
) -> Corpus:
    """Read `.npz`, `.csv`, `.parquet`, which needs pyarrow, a directory of them, or an archive; only used columns.

    `targets` are scores that are wanted beside those of TARGETS. A subjective one is on the scale `mos_range`. Raises
    CorpusError.
    """
    targets = tuple(targets)
    if path.is_dir() and not is_archive(path):
        return _load_all(path, choose, targets, mos_range)
    table = open_table(path)
    if "source" not in table.names:
        raise CorpusError(f"{path}: column source is missing; there is {listed(table.names) or 'none'}")
    return corpus_from(table, choose(table), targets, mos_range)


def _load_all(directory: Path, choose: Choice, targets: Sequence[str], mos_range: Scale) -> Corpus:
    """Read the files of a directory as one corpus: all with the features of the first, each with clips of its own."""
    paths = sorted(path for path in directory.iterdir() if path.suffix in _READERS)
    if not paths:
        raise CorpusError(f"{directory}: no file in it is a corpus: {', '.join(_READERS)}")
    first = Features.of(choose(open_table(paths[0])))
    parts = [load_corpus(path, of_models([first]), targets, mos_range) for path in paths]
    for path, part in zip(paths, parts, strict=True):
        lacking_scores = sorted((set(parts[0].targets) | set(targets)) - set(part.targets))
        if lacking_scores:
            raise CorpusError(
                f"{path}: no score {listed(lacking_scores)}, which {paths[0].name} or the command asks for"
            )
    return joined(parts)


def of_models(models: Iterable[Features]) -> Choice:
    """Choose what models take."""
    return lambda table: taken_by(table, models)


def by_pattern(patterns: Sequence[str]) -> Choice:
    """Choose columns by name, or by a pattern such as `f*`: in the order of the patterns, then of the file."""

    def choose(table: Table) -> list[str]:
        there = [name for name in (*table.features, *table.names) if name not in ABOUT]
        found: dict[str, None] = {}
        for pattern in patterns:
            matching = [name for name in there if fnmatchcase(name, pattern)]
            if not matching:
                raise CorpusError(f"{table.name}: no column {pattern}; there is {listed(table.names)}")
            found |= dict.fromkeys(matching)
        return list(found)

    return choose if patterns else _own_or_said


def _own_or_said(table: Table) -> Sequence[str]:
    try:
        return own_features(table)
    except CorpusError as error:
        raise CorpusError(f"{error}; --features names others") from None


def subjective_target(path: Path) -> str:
    """Return the name of the subjective score that a file has. Raises CorpusError where it has none."""
    first = min((each for each in path.iterdir() if each.suffix in _READERS), default=path) if path.is_dir() else path
    table = open_table(first)
    found = next((name for name in SUBJECTIVE if name in table.names), None)
    if found is None:
        raise CorpusError(f"{first}: no column {' or '.join(SUBJECTIVE)}; there is {listed(table.names)}")
    return found


def open_table(path: Path) -> Table:
    """Look at the columns of a file, without reading the rows. Raises CorpusError."""
    if is_archive(path):
        return ArchiveTable(path)
    if not path.is_file():
        raise CorpusError(f"{path}: no such file")
    if path.suffix not in _READERS:
        raise CorpusError(f"{path}: a corpus is a .npz, .parquet or .csv file, not {path.suffix or 'without suffix'}")
    return _READERS[path.suffix](path)


class _CsvTable:
    """The columns that the heading names, a row a frame."""

    features: Sequence[str] = ()
    scaled = False

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path
        with self._lines() as lines:
            self.names = [name.strip() for name in next(lines, [])]

    def read(self, kinds: Mapping[str, type]) -> dict[str, npt.NDArray[Any]]:
        """Convert some thousand lines at a time: as text, a table takes ten times the memory of its numbers."""
        with self._lines() as lines:
            next(lines, None)
            rows = self._rows(lines)
            blocks = [self._block([], kinds)]
            while block := list(islice(rows, _LINES_AT_A_TIME)):
                blocks.append(self._block(block, kinds))
        return {name: np.concatenate([block[name] for block in blocks]) for name in kinds}

    @contextmanager
    def _lines(self) -> Iterator[Reader]:
        try:
            with self._path.open(encoding="utf-8-sig", newline="") as file:
                yield csv.reader(file)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise CorpusError(f"{self.name}: not a corpus in .csv format: {error}") from error

    def _rows(self, lines: Reader) -> Iterator[list[str]]:
        width = len(self.names)
        for row in lines:
            if row and len(row) != width:
                found = f"line {lines.line_num} has {len(row)} values, the heading {width} names"
                raise CorpusError(f"{self.name}: {found}")
            if row:
                yield row

    def _block(self, rows: list[list[str]], kinds: Mapping[str, type]) -> dict[str, npt.NDArray[Any]]:
        places = {name: self.names.index(name) for name in kinds}
        columns = {name: np.array([row[place] for row in rows], np.str_) for name, place in places.items()}
        return {name: converted(values, name, kinds[name], self.name) for name, values in columns.items()}


class _ParquetTable:
    """The columns of a Parquet file by way of pyarrow, which is optional."""

    features: Sequence[str] = ()
    scaled = False

    def __init__(self, path: Path) -> None:
        if reason := lacking("corpus", ".parquet"):
            raise CorpusError(f"{path}: {reason}; .npz and .csv do not")
        from pyarrow import parquet

        self.name = str(path)
        self._path = path
        with self._one_error():
            self.names: list[str] = parquet.read_schema(path).names

    def read(self, kinds: Mapping[str, type]) -> dict[str, npt.NDArray[Any]]:
        """Read column by column, so that no more than one is in memory twice."""
        from pyarrow import parquet

        columns = {}
        for name, kind in kinds.items():
            with self._one_error():
                values = parquet.read_table(self._path, columns=[name])[name].to_numpy()
            columns[name] = converted(values, name, kind, self.name)
        return columns

    @contextmanager
    def _one_error(self) -> Iterator[None]:
        import pyarrow

        try:
            yield
        except (pyarrow.ArrowException, OSError) as error:
            raise CorpusError(f"{self.name}: {str(error).splitlines()[0]}") from error


_READERS: dict[str, Callable[[Path], Table]] = {".npz": PackedTable, ".csv": _CsvTable, ".parquet": _ParquetTable}
"""How a file is read, by its suffix."""
