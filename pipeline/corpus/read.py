"""Reads a corpus in whichever format its file has."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline.corpus.archived import read_archive
from pipeline.corpus.packed import read_npz
from pipeline.corpus.table import COLUMNS, Corpus, CorpusError, corpus_from_columns
from pipeline.runtime.extras import lacking

if TYPE_CHECKING:
    from _csv import Reader


def load_corpus(path: Path) -> Corpus:
    """Read `.npz` or `.csv`; `.parquet` or a sidecar's archive, a directory, need pyarrow. Raises CorpusError."""
    if path.is_dir():
        return read_archive(path)
    if not path.is_file():
        raise CorpusError(f"{path}: no such file")
    if path.suffix == ".npz":
        return read_npz(path)
    if path.suffix == ".csv":
        return _read_csv(path)
    if path.suffix == ".parquet":
        return _read_parquet(path)
    raise CorpusError(f"{path}: a corpus is a .npz, .parquet or .csv file, not {path.suffix or 'without suffix'}")


def _read_csv(path: Path) -> Corpus:
    """Read the columns that the heading names, a row a frame; others are ignored."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return corpus_from_columns(_columns(csv.reader(file), path), path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"{path}: not a corpus in .csv format: {error}") from error


def _columns(lines: Reader, path: Path) -> dict[str, npt.NDArray[np.str_]]:
    heading = next(lines, [])
    rows = []
    for row in lines:
        if row and len(row) != len(heading):
            raise CorpusError(f"{path}: line {lines.line_num} has {len(row)} values, the heading {len(heading)} names")
        if row:
            rows.append(row)
    present = {name.strip(): place for place, name in enumerate(heading) if name.strip() in COLUMNS}
    return {name: np.array([row[place] for row in rows], np.str_) for name, place in present.items()}


def _read_parquet(path: Path) -> Corpus:
    """Read the columns of a corpus by way of pyarrow, which is optional; others are ignored."""
    if reason := lacking("corpus", ".parquet"):
        raise CorpusError(f"{path}: {reason}; .npz and .csv do not")
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise CorpusError(f"{path}: {str(error).splitlines()[0]}") from error
    present = [name for name in COLUMNS if name in table.column_names]
    return corpus_from_columns({name: table[name].to_numpy() for name in present}, path)
