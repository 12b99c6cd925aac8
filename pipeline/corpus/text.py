"""Corpora as CSV: a heading with the names of the columns, then a row a frame."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline.corpus.table import COLUMNS, Corpus, CorpusError, corpus_from_columns

if TYPE_CHECKING:
    from _csv import Reader


def read_csv(path: Path) -> Corpus:
    """Read the columns of a corpus by their names; others are ignored. Raises CorpusError."""
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
