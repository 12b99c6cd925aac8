"""Rows whose every field follows from their sequence, so that a mixture of two rows gives itself away."""

import numpy as np
from numpy.typing import NDArray

from pipeline.shm.ring import Ring
from pipeline.shm.rows import RowBatch

N_FEATURES = 80
_MODULUS = 1 << 20  # whole numbers below 2**24 are exact in float32


def features_of(sequence: int) -> list[float]:
    """Return the feature vector of a row."""
    return [float((sequence * 31 + i) % _MODULUS) for i in range(N_FEATURES)]


def append(ring: Ring, sequence: int) -> None:
    """Write and commit the row of `sequence`; `ring.publish` makes it visible."""
    ring.put(float(sequence), sequence * 7 + 1, float(sequence % 101), features_of(sequence))
    ring.commit(sequence * 13 + 5)


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
