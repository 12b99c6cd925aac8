"""The archive's schema, and files of it. docs/archive.md has every column."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.archive.batch import Samples
from pipeline.archive.wire import FIELDS

SCHEMA_VERSION = 1
VERSION_KEY = "vmafx_sidecar.archive_schema"
_MOMENT = pa.timestamp("us", tz="UTC")
_TYPES = {
    "job_id": pa.string(),
    "true_score": pa.float64(),
    "predicted_score": pa.float64(),
    "ground_truth_score": pa.float64(),
    "target_bitrate_kbps": pa.float64(),
    "achieved_bitrate_kbps": pa.float64(),
    "width": pa.int64(),
    "height": pa.int64(),
    "frame_rate": pa.float64(),
    "frame_count": pa.int64(),
    "captured_at": _MOMENT,
}


def schema(n_features: int) -> Any:
    """Return the schema for feature vectors of a length."""
    fields = [
        pa.field("ring", pa.int64(), nullable=False),
        pa.field("sequence", pa.int64(), nullable=False),
        pa.field("arrival", _MOMENT, nullable=False),
        pa.field("step", pa.int64(), nullable=False),
        pa.field("stable_version", pa.int64()),
        *(pa.field(name, _TYPES.get(name, pa.string()), nullable=name not in _REQUIRED) for name in FIELDS),
        pa.field("features", _features(n_features), nullable=False),
        pa.field("rest", pa.string()),
    ]
    return pa.schema(fields, metadata={VERSION_KEY: str(SCHEMA_VERSION)})


_REQUIRED = {"job_id", "true_score"}


def parquet(samples: Samples, n_features: int) -> memoryview:
    """Return samples as the bytes of a Parquet file."""
    return _encoded(_table(samples, n_features))


def chosen(path: Path, names: dict[str, str | None], group: str | None, before: float | None) -> NDArray[np.bool_]:
    """Tell which samples of a file have these names by column, are of a group and arrived before a Unix time, bool[n].

    None is any. A group is the source, or without one the job. What the file says of its columns may be enough.
    """
    file = pq.ParquetFile(path, read_dictionary=["job_id", "tenant_id", "source_id", "node_id"])
    wanted = {name: value for name, value in names.items() if value is not None}
    found = np.ones(file.metadata.num_rows, np.bool_)
    if any(_is_outside(file, name, value) for name, value in wanted.items()):
        return ~found
    for name, value in wanted.items():
        found &= _equal(file.read([name])[name], value)
    if group is not None:
        both = file.read(["source_id", "job_id"])
        nameless = both["source_id"].is_null().to_numpy()
        found &= np.where(nameless, _equal(both["job_id"], group), _equal(both["source_id"], group))
    if before is not None:
        found &= file.read(["arrival"])["arrival"].cast(pa.int64()).to_numpy() < before * 1e6
    return found


def _is_outside(file: Any, name: str, value: str) -> bool:
    """Whether the smallest and the largest value of a column leave this one out."""
    place = file.schema_arrow.get_field_index(name)
    groups = (file.metadata.row_group(number) for number in range(file.metadata.num_row_groups))
    known = [group.column(place).statistics for group in groups]
    return all(each is not None and each.has_min_max and not each.min <= value <= each.max for each in known)


def _equal(column: Any, value: str) -> NDArray[np.bool_]:
    equal: NDArray[np.bool_] = pc.fill_null(pc.equal(column, value), fill_value=False).to_numpy()
    return equal


def without(path: Path, gone: NDArray[np.bool_]) -> memoryview:
    """Return a file's bytes without some of its samples, bool[n]."""
    return _encoded(pq.read_table(path).filter(pa.array(~gone)))


def _encoded(whole: Any) -> memoryview:
    sink = pa.BufferOutputStream()
    pq.write_table(
        whole,
        sink,
        compression="zstd",
        use_dictionary=[name for name in FIELDS if name not in _TYPES or name == "job_id"],
        column_encoding={"features.list.element": "BYTE_STREAM_SPLIT"},
    )
    return memoryview(sink.getvalue())


def sequences(path: Path) -> tuple[int, int, int]:
    """Return ring, first and last sequence of a file. Raises OSError or ValueError where it is not a whole one."""
    found = pq.read_table(path, columns=["ring", "sequence"])
    rings, numbers = (found[name].to_numpy() for name in ("ring", "sequence"))
    if not len(numbers) or (rings != rings[0]).any() or (np.diff(numbers) <= 0).any():
        raise ValueError("its samples are not of one ring, in order")
    return int(rings[0]), int(numbers[0]), int(numbers[-1])


def _table(samples: Samples, n_features: int) -> Any:
    origins = samples.origins
    arrivals: Any = np.array([origin.arrival for origin in origins])
    columns = {
        "ring": [origin.ring for origin in origins],
        "sequence": samples.sequences,
        "arrival": (arrivals * 1e6).round().astype("datetime64[us]"),
        "step": [origin.step for origin in origins],
        "stable_version": [origin.stable or None for origin in origins],
        "features": _feature_column([line.features for line in samples.lines], n_features),
        "rest": [line.rest for line in samples.lines],
    }
    rows = [line.row for line in samples.lines]
    columns |= {name: [getattr(row, name) for row in rows] for name in FIELDS}
    return pa.table([columns[name] for name in schema(n_features).names], schema=schema(n_features))


def _feature_column(rows: list[bytes], n_features: int) -> Any:
    values = pa.array(np.frombuffer(b"".join(rows), np.float32))
    return pa.FixedSizeListArray.from_arrays(values, type=_features(n_features))


def _features(n_features: int) -> Any:
    return pa.list_(pa.field("element", pa.float32(), nullable=False), n_features)
