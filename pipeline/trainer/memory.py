"""What a train step sees: new rows, recent ones again (from the ring) and the whole past (from the reservoir)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.shm.reservoir import Reservoir
from pipeline.shm.ring import Ring
from pipeline.shm.rows import RowBatch
from pipeline.trainer.random_indices import RandomIndices


class Memory:
    """Composes batches of `batch_size` rows in one preallocated block, which the next call overwrites."""

    def __init__(self, ring: Ring, reservoir: Reservoir, batch_size: int, recent_share: float, seed: int) -> None:
        self._recent_share = recent_share
        self._reservoir = reservoir
        self._recent = RecentRows(ring)
        self._size = batch_size
        self._slots = ring.slots
        self._batch = RowBatch(batch_size, ring.n_features)
        self._parts: dict[tuple[int, int], RowBatch] = {}
        self.random = RandomIndices(seed)

    def remember(self, sequences: NDArray[np.int64]) -> None:
        """Note that the ring's rows `sequences` int64[n], ascending, may be replayed."""
        self._recent.append(sequences)

    def forget(self) -> None:
        """Replay none of the ring's rows until further ones are remembered."""
        self._recent.clear()

    def batch(self, new: RowBatch | None = None) -> RowBatch:
        """Return `new` (no more rows than a batch has), filled up with replayed rows, where there are any.

        Of the replayed rows, `recent_share` are drawn from the ring and the others from the reservoir.
        """
        start = 0 if new is None else len(new)
        if new is not None:
            self._batch.words[:start] = new.words
        wanted = start + int(self._recent_share * (self._size - start))
        recent = start + self._recent.take(self._rows(start, wanted), self.random)
        stored = len(self._reservoir)
        if not stored:
            return self._rows(0, recent)
        self._reservoir.take(self.random.indices(self._size - recent, stored), self._rows(recent, self._size))
        return self._batch

    def places(self, new: RowBatch | None = None) -> NDArray[np.int64]:
        """Return, by the same draws, where the rows of such a batch are, int64[n].

        Under `slots` of the ring it is that slot of the ring, from there on a slot of the reservoir.
        """
        drawn = np.zeros(0, np.int64) if new is None else new.sequence
        wanted = int(self._recent_share * (self._size - len(drawn)))
        slots = np.concatenate((drawn, self._recent.draw(wanted, self.random))) % self._slots
        stored = len(self._reservoir)
        if not stored:
            return slots
        return np.concatenate((slots, self._slots + self.random.indices(self._size - len(slots), stored)))

    def _rows(self, start: int, stop: int) -> RowBatch:
        """Return a part of the batch; views, made once."""
        part = self._parts.get((start, stop))
        if part is None:
            part = RowBatch.over(self._batch.words[start:stop], self._batch.n_features)
            self._parts[start, stop] = part
        return part


class RecentRows:
    """The ring's rows that may be replayed: those not held out, as long as they are in the ring."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        # Twice the room that is needed, so that what is live is one piece and has to be moved only now and then.
        self._sequences: NDArray[np.int64] = np.zeros(2 * ring.capacity, np.int64)
        self._start = self._stop = 0

    def append(self, sequences: NDArray[np.int64]) -> None:
        """Add ascending sequences int64[n], at most as many as the ring has rows, each above those before."""
        if self._stop + len(sequences) > len(self._sequences):
            self._evict(self._ring.oldest)
            live = self._sequences[self._start : self._stop].copy()
            self._sequences[: len(live)] = live
            self._start, self._stop = 0, len(live)
        self._sequences[self._stop : self._stop + len(sequences)] = sequences
        self._stop += len(sequences)

    def clear(self) -> None:
        """Forget all of them."""
        self._start = self._stop = 0

    def take(self, out: RowBatch, random: RandomIndices) -> int:
        """Fill `out` with rows drawn at random; return how many there are: all, or none."""
        oldest = self._ring.oldest
        chosen = self._chosen(len(out), oldest, random)
        return len(chosen) if len(chosen) and self._ring.take(oldest, chosen - oldest, out) else 0

    def draw(self, count: int, random: RandomIndices) -> NDArray[np.int64]:
        """Return the sequences int64[n] of rows drawn at random: `count`, or none."""
        return self._chosen(count, self._ring.oldest, random)

    def _chosen(self, count: int, oldest: int, random: RandomIndices) -> NDArray[np.int64]:
        self._evict(oldest)
        live = self._stop - self._start
        if not live or not count:
            return self._sequences[:0]
        return self._sequences[self._start : self._stop][random.indices(count, live)]

    def _evict(self, oldest: int) -> None:
        while self._start < self._stop and self._sequences[self._start] < oldest:
            self._start += 1
