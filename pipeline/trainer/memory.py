"""What a train step sees: new rows, recent ones again (from the ring) and the whole past (from the reservoir)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.shm.reservoir import Reservoir
from pipeline.shm.ring import Ring
from pipeline.shm.rows import RowBatch
from pipeline.trainer.draws import Draws


class Memory:
    """Composes batches of `batch_size` rows in one preallocated block, which the next call overwrites."""

    def __init__(self, ring: Ring, reservoir: Reservoir, batch_size: int, seed: int) -> None:
        self._reservoir = reservoir
        self._recent = RecentRows(ring)
        self._batch = RowBatch(batch_size, ring.n_features)
        self.draws = Draws(seed)

    def remember(self, sequences: NDArray[np.int64]) -> None:
        """Note that the ring's rows `sequences` int64[n], ascending, may be replayed."""
        self._recent.append(sequences)

    def batch(self, new: RowBatch | None = None) -> RowBatch:
        """Return `new` (no more rows than a batch has), filled up with replayed rows, where there are any.

        Half of the replayed rows are drawn from the ring and half from the reservoir.
        """
        start = 0 if new is None else len(new)
        if new is not None:
            self._batch.words[:start] = new.words
        free = len(self._batch) - start
        recent = self._recent.take(self._rows(start, start + free // 2), self.draws)
        if not len(self._reservoir):
            return self._batch.first(start + recent)
        past = self._rows(start + recent, len(self._batch))
        self._reservoir.take(self.draws.indices(len(past), len(self._reservoir)), past)
        return self._batch

    def _rows(self, start: int, stop: int) -> RowBatch:
        return RowBatch.over(self._batch.words[start:stop], self._batch.n_features)


class RecentRows:
    """The ring's rows that may be replayed: those not held out, as long as they are in the ring."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        self._sequences: NDArray[np.int64] = np.zeros(ring.capacity, np.int64)
        self._appended = 0
        self._evicted = 0

    def append(self, sequences: NDArray[np.int64]) -> None:
        """Add ascending sequences int64[n], each above those before."""
        places = np.arange(self._appended, self._appended + len(sequences)) % len(self._sequences)
        self._sequences[places] = sequences
        self._appended += len(sequences)

    def take(self, out: RowBatch, draws: Draws) -> int:
        """Fill `out` with rows drawn at random; return how many there are: all, or none."""
        oldest = self._ring.oldest
        self._evict(oldest)
        count = self._appended - self._evicted
        if not count or not len(out):
            return 0
        chosen = self._sequences[(self._evicted + draws.indices(len(out), count)) % len(self._sequences)]
        return len(out) if self._ring.take(oldest, chosen - oldest, out) else 0

    def _evict(self, oldest: int) -> None:
        size = len(self._sequences)
        self._evicted = max(self._evicted, self._appended - size)
        while self._evicted < self._appended and self._sequences[self._evicted % size] < oldest:
            self._evicted += 1
