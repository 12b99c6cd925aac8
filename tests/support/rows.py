"""Rows whose every field follows from their sequence, so that a mixture of two rows gives itself away."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.shm.ring import Ring
from pipeline.shm.rows import RowBatch

N_FEATURES = 80
_MODULUS = 1 << 20  # whole numbers below 2**24 are exact in float32


def rows_of(sequences: NDArray[np.int64]) -> RowBatch:
    """Return the rows of `sequences`, whose sequence field the ring sets."""
    batch = RowBatch(len(sequences), N_FEATURES)
    batch.arrival[:], batch.score[:] = sequences, sequences % 101
    batch.group[:], batch.key[:] = sequences * 7 + 1, sequences * 13 + 5
    batch.features[:] = (sequences[:, None] * 31 + np.arange(N_FEATURES)) % _MODULUS
    return batch


def write(ring: Ring, count: int) -> None:
    """Write the next `count` rows."""
    ring.extend(rows_of(np.arange(ring.head, ring.head + count)))


def append(ring: Ring, group: int, key: int, score: float, features: Sequence[float]) -> None:
    """Write one row."""
    row = RowBatch(1, ring.n_features)
    row.group[0], row.key[0], row.score[0], row.features[0] = group, key, score, features
    ring.extend(row)


def intact(batch: RowBatch, sequences: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell of each row whether it is, in every field, the row of its sequence."""
    expected = (sequences[:, None] * 31 + np.arange(N_FEATURES)) % _MODULUS
    return np.asarray(
        (batch.sequence == sequences)
        & (batch.arrival == sequences)
        & (batch.group == (sequences * 7 + 1).astype(np.uint64))
        & (batch.key == (sequences * 13 + 5).astype(np.uint64))
        & (batch.score == sequences % 101)
        & (batch.features == expected).all(axis=1)
    )


def random_rows(count: int, n_features: int, seed: int = 0) -> RowBatch:
    """Return rows that are samples, each of a job and key of its own, of twenty groups."""
    rng = np.random.default_rng(seed)
    rows = RowBatch(count, n_features)
    rows.features[:] = rng.random((count, n_features))
    rows.score[:] = 100 * rng.random(count)
    rows.group[:] = rng.integers(1, 21, count)
    rows.job[:] = rng.integers(1, 2**63, count)
    rows.key[:] = rng.integers(1, 2**63, count)
    rows.arrival[:] = 1.7e9 + np.arange(count)
    return rows
