"""An archive in memory: its samples in the order in which they were accepted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.archive import names
from pipeline.archive.table import SCHEMA_VERSION, VERSION_KEY


class ArchiveError(Exception):
    """An archive that cannot be read; the message names the file and what is wrong."""


def read(root: Path, columns: list[str], tenant: str | None = None, since: float | None = None) -> Any:
    """Return a table of `columns`, with `ring`, `sequence`, `arrival` and `tenant_id`.

    Only samples of a tenant, and from a Unix time on, where these are given. Rings follow each other by their first
    sample, samples of a ring by sequence. Raises ArchiveError, also where no sample is left.
    """
    wanted = list(dict.fromkeys([*columns, "ring", "sequence", "arrival", "tenant_id"]))
    parts = [part for part in names.parts(root) if since is None or part.date >= names.date_of(since)]
    tables = [_read(part.path, wanted) for part in parts]
    if not tables:
        raise ArchiveError(f"{root}: no samples; expected {names.PARTS}/part-*.parquet")
    try:
        whole = pa.concat_tables(tables)
    except pa.ArrowInvalid as error:
        raise ArchiveError(f"{root}: its files do not fit together: {str(error).splitlines()[0]}") from None
    kept = np.ones(len(whole), np.bool_)
    if tenant is not None:
        kept &= np.array([name == tenant for name in whole["tenant_id"].to_pylist()], np.bool_)
    if since is not None:
        kept &= arrivals(whole) >= since
    whole = whole.filter(pa.array(kept))
    if not len(whole):
        raise ArchiveError(f"{root}: no samples are left of {len(kept):,}")
    return whole.take(pa.array(_order(whole)))


def has_samples(root: Path) -> bool:
    """Whether there is any file of samples."""
    return any(names.parts(root))


def arrivals(table: Any) -> Any:
    """Return when the samples arrived, float64[n] in Unix seconds."""
    return table["arrival"].cast(pa.int64()).to_numpy() / 1e6


def features(table: Any) -> Any:
    """Return the samples' features, float32[n, n_features]."""
    column = table["features"].combine_chunks()
    return column.flatten().to_numpy().reshape(len(table), -1).copy()  # which torch may write to


def _order(table: Any) -> Any:
    rings, sequences, arrived = table["ring"].to_numpy(), table["sequence"].to_numpy(), arrivals(table)
    known, ring = np.unique(rings, return_inverse=True)
    first = np.array([arrived[ring == place].min() for place in range(len(known))])
    return np.lexsort((sequences, first[ring]))


def _read(path: Path, columns: list[str]) -> Any:
    try:
        file = pq.ParquetFile(path)
        found = (file.schema_arrow.metadata or {}).get(VERSION_KEY.encode(), b"").decode()
        if found != str(SCHEMA_VERSION):
            raise ArchiveError(f"{path}: schema {found or 'unknown'}, expected {SCHEMA_VERSION}")
        return file.read(columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise ArchiveError(f"{path}: {str(error).splitlines()[0]}") from None
