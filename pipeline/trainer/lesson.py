"""What a device that holds the replayed rows has to be told of an observation: a few new rows, and numbers of rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

import numpy as np
from numpy.typing import NDArray

from pipeline.shm.reservoir import Reservoir
from pipeline.shm.ring import Ring
from pipeline.shm.rows import RowBatch
from pipeline.trainer.memory import Memory

Places = NDArray[np.int64]


@dataclass(frozen=True)
class Lesson:
    """The steps that follow an observation, in terms of places on the device (`Memory.places`).

    content     float32[n, 1 + n_features], score and features of rows that are not on the device yet
    where       int64[n], the places that they get, before anything else
    first       int64[b], the rows of the first step's batch
    origins     int64[m], places that are copied after that, to
    targets     int64[m], each of these once
    further     int64[k, batch_size], the rows of each further step's batch
    mean        float32[n_features] to take from the features; None: nothing
    """

    content: NDArray[np.float32]
    where: Places
    first: Places
    origins: Places
    targets: Places
    further: Places
    mean: NDArray[np.float32] | None = None

    def centred(self, mean: NDArray[np.float32]) -> Lesson:
        """Return the same on features less `mean` float32[n_features]."""
        return replace(self, mean=mean)


class Lessons:
    """Makes lessons of observations, for a device that holds what `ring` and `reservoir` hold."""

    def __init__(self, memory: Memory, ring: Ring, reservoir: Reservoir) -> None:
        self._memory, self._ring, self._reservoir = memory, ring, reservoir
        self._begun = False

    def begin_anew(self) -> None:
        """Say that ring and reservoir were filled by others: the next lesson brings all of their rows."""
        self._begun = False

    def of(self, fresh: RowBatch, coin: Random, further: int) -> Lesson:
        """Return the step on new rows and `further` ones on memory alone; the rows are remembered and offered here.

        RandomIndices, and so the rows of each batch, are those of `Memory.batch` called for each step.
        """
        content, where = self._news(fresh)
        first = self._memory.places(fresh)
        self._memory.remember(fresh.sequence)
        kept = self._reservoir.offer(fresh, coin)
        rows = np.fromiter(kept.values(), np.int64, len(kept))
        slots = np.fromiter(kept.keys(), np.int64, len(kept))
        batches = [self._memory.places() for _ in range(further)]
        return Lesson(
            content=content,
            where=where,
            first=first,
            origins=fresh.sequence[rows] % self._ring.slots,
            targets=self._ring.slots + slots,
            further=np.stack(batches) if batches else np.zeros((0, 0), np.int64),
        )

    def _news(self, fresh: RowBatch) -> tuple[NDArray[np.float32], Places]:
        """Return the content of rows that the device lacks, and their places."""
        content, where = fresh.content, fresh.sequence % self._ring.slots
        if not self._begun:
            self._begun = True
            recent, _ = self._ring.snapshot()
            recent = recent.select(recent.sequence < fresh.sequence[0])
            stored = RowBatch.over(self._reservoir.rows[: len(self._reservoir)], self._ring.n_features)
            content = np.concatenate((recent.content, stored.content, content))
            slots = self._ring.slots + np.arange(len(stored))
            where = np.concatenate((recent.sequence % self._ring.slots, slots, where))
        return np.ascontiguousarray(content), where
