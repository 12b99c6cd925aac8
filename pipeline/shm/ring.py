"""The replay ring: the newest samples, first in first out, written by one process and read by any.

The writer stores `reserve`, writes rows, then stores `head`. A reader copies rows and then rejects every sequence
under `reserve - slots`: the writer may have been at work on those. Where the processor may reorder stores (aarch64),
rows are sealed with a checksum, and a reader also rejects rows whose checksum or sequence is not right.

Sequences mean something within one ring only. So a ring has an identity, a random number that it gets once its content
is whole, and knows which ring it was restored from and with how many samples: a reader that comes back with a cursor
and the identity that it is for learns where to go on.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipeline.shm.atomics import CACHE_LINE, STORES_IN_ORDER, AtomicInt64
from pipeline.shm.rows import RowBatch, mark_removed, row_words, seal, sealed
from pipeline.shm.segment import Layout

KIND = "ring"
_CONTROL_BYTES = 4 * CACHE_LINE
# Slots beyond the capacity, so that the rows which the writer is at work on are none of the `capacity` newest.
SPARE_SLOTS = 1024
_BURST = SPARE_SLOTS // 4


class Ring:
    """FIFO of the `capacity` newest samples over a writable `buffer` made for `Ring.layout(capacity, n_features)`."""

    def __init__(self, buffer: memoryview, capacity: int, n_features: int) -> None:
        self.capacity = capacity
        self.n_features = n_features
        self.slots = capacity + SPARE_SLOTS
        self._reserve = AtomicInt64(buffer, 0)
        self._head = AtomicInt64(buffer, CACHE_LINE)
        self._sealing = AtomicInt64(buffer, 2 * CACHE_LINE)
        self._identity, self._parent, self._restored = (AtomicInt64(buffer, 3 * CACHE_LINE + 8 * i) for i in range(3))
        words = row_words(n_features)
        self._row_bytes = 4 * words
        self._row_view = buffer[_CONTROL_BYTES : _CONTROL_BYTES + self.slots * self._row_bytes]
        self.rows: NDArray[np.float32] = np.frombuffer(self._row_view, np.float32).reshape(self.slots, words)
        self._seals = False
        # Reused, since numpy takes longer to make an array of a number than to add it.
        self._place: NDArray[np.int64] = np.zeros((), np.int64)
        self._places: NDArray[np.int64] = np.zeros(0, np.int64)

    @staticmethod
    def layout(capacity: int, n_features: int) -> Layout:
        """Return the layout of a segment that holds such a ring."""
        size = _CONTROL_BYTES + (capacity + SPARE_SLOTS) * 4 * row_words(n_features)
        return Layout(KIND, (capacity, n_features), size)

    @classmethod
    def private(cls, capacity: int, n_features: int, *, sealing: bool = not STORES_IN_ORDER) -> Ring:
        """Return an empty ring in this process's own memory, open for writing."""
        ring = cls(memoryview(bytearray(cls.layout(capacity, n_features).size)), capacity, n_features)
        ring.open_writer(sealing=sealing)
        ring.begin()
        return ring

    @property
    def head(self) -> int:
        """Number of samples accepted since the beginning: the sequence that the next one will get."""
        return self._head.load()

    @property
    def oldest(self) -> int:
        """Smallest sequence that is among the `capacity` newest rows and was not lost before a restore."""
        return max(0, self._head.load() - self.capacity, self._reserve.load() - self.slots)

    @property
    def identity(self) -> int:
        """Which ring this is; 0 until its writer has filled it with what was saved."""
        return self._identity.load()

    @property
    def restored(self) -> int:
        """The head that it began with: rows from this sequence on were written into this very ring."""
        return self._restored.load()

    def position(self, identity: int, cursor: int) -> int:
        """Return where a reader goes on that had read ring `identity` up to sequence `cursor`.

        In the same ring, there. In one that was restored from it, there or at the first new row, where fewer rows
        were restored than had been read. In any other, at the first new row: what was restored may have been read.
        """
        if identity == self.identity:
            return cursor
        return min(cursor, self.restored) if identity == self._parent.load() else self.restored

    # The writer.

    def open_writer(self, *, sealing: bool = not STORES_IN_ORDER) -> None:
        """Become the writer: go on behind the last visible row. Rows that a dead writer had begun stay rejected.

        A ring that had no identity yet is empty afterwards.
        """
        self._sealing.store(int(sealing))
        self._seals = sealing
        if not self.identity:
            self._head.store(0)
            self._reserve.store(0)

    def begin(self, parent: int = 0) -> None:
        """Give the ring its identity: its content is whole now, restored from ring `parent` where that is not 0."""
        self._parent.store(parent)
        self._restored.store(self.head)
        self._identity.store(secrets.randbits(62) + 1)

    def extend(self, batch: RowBatch) -> None:
        """Write rows behind the newest and make them visible; their sequences are set here, in `batch` too."""
        first = self._head.load()
        batch.sequence[:] = np.arange(first, first + len(batch))
        for start in range(0, len(batch), _BURST):
            self._write(first + start, batch.words[start : start + _BURST])

    def _write(self, first: int, words: NDArray[np.float32]) -> None:
        count, start = len(words), first % self.slots
        self._reserve.store(max(first + count, self._reserve.load()))
        until_end = min(count, self.slots - start)
        self.rows[start : start + until_end] = words[:until_end]
        self.rows[: count - until_end] = words[until_end:]
        if self._seals:
            self._seal(range(first, first + count))
        self._head.store(first + count)

    def _seal(self, sequences: range) -> None:
        for sequence in sequences:
            start = sequence % self.slots * self._row_bytes
            seal(self._row_view[start : start + self._row_bytes])

    def restore(self, words: NDArray[np.float32], head: int) -> None:
        """Fill an empty ring with saved rows float32[n, row_words] in order of sequence, so that `head` comes next.

        Rows before a gap in the sequence are left out. Where the newest are missing, their sequences come again.
        """
        kept = RowBatch.over(np.array(words[-self.slots :], dtype=np.float32), self.n_features)
        head = int(kept.sequence[-1]) + 1 if len(kept) else head
        gaps = np.flatnonzero(kept.sequence != np.arange(head - len(kept), head))
        kept = kept.select(np.arange(gaps[-1] + 1 if len(gaps) else 0, len(kept)))
        self.rows[kept.sequence % self.slots] = kept.words
        if self._seals:
            self._seal(range(head - len(kept), head))
        # As if everything older had been written over.
        self._reserve.store(head - len(kept) + self.slots)
        self._head.store(head)

    def remove(self, chosen: Callable[[RowBatch], NDArray[np.bool_]]) -> int:
        """Remove what a row had in it, of those that `chosen` says yes to, written over or not; return how many."""
        rows = RowBatch.over(self.rows, self.n_features)
        found = chosen(rows) & (rows.key != 0)
        mark_removed(rows, found)
        return int(found.sum())

    # Readers.

    def read(self, first: int, out: RowBatch) -> int:
        """Copy the rows from sequence `first` on into `out`; return how many are whole.

        0: there are none yet, or the writer has lapped `first` (then go on from `oldest`).
        """
        count = min(len(out), self._head.load() - first)
        if count <= 0:
            return 0
        self._copy(first, count, out)
        return count if self._whole(first, out.first(count), np.arange(count)) else 0

    def take(self, first: int, offsets: NDArray[np.int64], out: RowBatch) -> bool:
        """Copy the rows of sequences `first + offsets` (int64[n], below `head`) into `out`; say if all are whole.

        False: the writer lapped the reader meanwhile; draw again.
        """
        if len(self._places) != len(offsets):
            self._places = np.zeros(len(offsets), np.int64)
        self._place.fill(first % self.slots)
        np.add(offsets, self._place, self._places)
        self.rows.take(self._places, 0, out.words, "wrap")
        return self._whole(first, out, offsets)

    def snapshot(self) -> tuple[RowBatch, int]:
        """Copy the rows that are whole, in order of sequence, and return them with the head that follows them."""
        head = self._head.load()
        batch = RowBatch(min(head, self.slots), self.n_features)
        first = head - len(batch)
        self._copy(first, len(batch), batch)
        whole = batch.sequence == np.arange(first, head)
        whole[: max(0, self._reserve.load() - self.slots - first)] = False
        if self._sealing.load():
            whole &= sealed(batch.words)
        return batch.select(whole), head

    def _copy(self, first: int, count: int, out: RowBatch) -> None:
        start = first % self.slots
        until_end = min(count, self.slots - start)
        out.words[:until_end] = self.rows[start : start + until_end]
        out.words[until_end:count] = self.rows[: count - until_end]

    def _whole(self, first: int, out: RowBatch, offsets: NDArray[np.int64]) -> bool:
        if first < self._reserve.load() - self.slots:
            return False
        if not self._sealing.load():
            return True
        return np.array_equal(out.sequence, first + offsets) and bool(sealed(out.words).all())
