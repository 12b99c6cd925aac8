"""The replay ring: the newest samples, first in first out, written by one process and read by any.

The writer stores `reserve`, writes rows, then stores `head`. A reader copies rows and then rejects every sequence
under `reserve - slots`: the writer may have been at work on those. Where the processor may reorder stores (aarch64),
rows are sealed with a checksum, and a reader also rejects rows whose checksum or sequence is not right.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.shm.rows import KEY_OFFSET, PREFIX, PREFIX_BYTES, SCORE_OFFSET, RowBatch, row_words, seal, sealed
from pipeline.shm.segment import Layout
from pipeline.shm.words import CACHE_LINE, STORES_IN_ORDER, Word

KIND = "ring"
_CONTROL_BYTES = 4 * CACHE_LINE
# Slots beyond the capacity, so that the rows which the writer is at work on are none of the `capacity` newest.
SPARE_SLOTS = 1024
# The writer reserves this many slots at a time, so that it stores `reserve` seldom.
RESERVE_STEP = 256
_U64 = struct.Struct("<Q")


class Ring:
    """FIFO of the `capacity` newest samples over a writable `buffer` made for `Ring.layout(capacity, n_features)`."""

    def __init__(self, buffer: memoryview, capacity: int, n_features: int) -> None:
        self.capacity = capacity
        self.n_features = n_features
        self.slots = capacity + SPARE_SLOTS
        self._reserve = Word(buffer, 0)
        self._head = Word(buffer, CACHE_LINE)
        self._sealing = Word(buffer, 2 * CACHE_LINE)
        words = row_words(n_features)
        self._row_bytes = 4 * words
        self._row_view = buffer[_CONTROL_BYTES : _CONTROL_BYTES + self.slots * self._row_bytes]
        self.rows: NDArray[np.float32] = np.frombuffer(self._row_view, np.float32).reshape(self.slots, words)
        self._pack = struct.Struct(f"<{PREFIX}{n_features}f").pack_into
        self._next = self._reserved = 0
        self._seals = False

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
        return ring

    @property
    def head(self) -> int:
        """Number of samples accepted since the beginning: the sequence that the next one will get."""
        return self._head.load()

    @property
    def oldest(self) -> int:
        """Smallest sequence that is among the `capacity` newest rows and was not lost before a restore."""
        return max(0, self._head.load() - self.capacity, self._reserve.load() - self.slots)

    # The writer.

    def open_writer(self, *, sealing: bool = not STORES_IN_ORDER) -> None:
        """Become the writer: go on behind the last published row. Rows that a dead writer had begun stay rejected."""
        self._sealing.store(int(sealing))
        self._seals = sealing
        self._next = self._reserved = self._head.load()
        if self._next == 0:
            self._reserve.store(0)  # there is nothing that a writer before could have spoilt

    def put(self, arrival: float, group: int, score: float, features: Sequence[float]) -> memoryview:
        """Write the next row without keeping it yet; return its content (score to last feature) as bytes.

        Raises OverflowError for a number outside float32 and struct.error for a wrong count of features. `commit` keeps
        the row; another `put` overwrites it.
        """
        sequence = self._next
        if sequence >= self._reserved:
            self._reserve_slots()
        offset = sequence % self.slots * self._row_bytes
        self._pack(self._row_view, offset, sequence, arrival, group, 0, score, 0, *features)
        return self._row_view[offset + SCORE_OFFSET : offset + PREFIX_BYTES + 4 * self.n_features]

    def commit(self, key: int) -> int:
        """Keep the row of the last `put` under identity `key`; return its sequence. `publish` makes it visible."""
        sequence = self._next
        offset = sequence % self.slots * self._row_bytes
        _U64.pack_into(self._row_view, offset + KEY_OFFSET, key)
        if self._seals:
            self._seal(sequence % self.slots)
        self._next = sequence + 1
        return sequence

    def _reserve_slots(self) -> None:
        """Announce the next rows to be written over, none of which is among the `capacity` newest visible ones."""
        self.publish()
        self._reserved = self._next + RESERVE_STEP
        self._reserve.store(max(self._reserved, self._reserve.load()))

    def _seal(self, slot: int) -> None:
        seal(self._row_view[slot * self._row_bytes : (slot + 1) * self._row_bytes])

    def publish(self) -> None:
        """Make every committed row visible."""
        self._head.store(self._next)

    def append(self, arrival: float, group: int, key: int, score: float, features: Sequence[float]) -> int:
        """Write one row and publish it; return its sequence."""
        self.put(arrival, group, score, features)
        sequence = self.commit(key)
        self.publish()
        return sequence

    def restore(self, words: NDArray[np.float32], head: int) -> None:
        """Fill an empty ring with saved rows float32[n, row_words] in order of sequence, so that `head` comes next.

        Rows before a gap in the sequence are left out.
        """
        kept = RowBatch.over(np.array(words[-self.slots :], dtype=np.float32), self.n_features)
        gaps = np.flatnonzero(kept.sequence != np.arange(head - len(kept), head))
        kept = kept.select(np.arange(gaps[-1] + 1 if len(gaps) else 0, len(kept)))
        self.rows[kept.sequence % self.slots] = kept.words
        if self._seals:
            for slot in (kept.sequence % self.slots).tolist():
                self._seal(slot)
        # As if everything older had been written over.
        self._reserve.store(head - len(kept) + self.slots)
        self._head.store(head)
        self._next = self._reserved = head

    # Readers.

    def read(self, first: int, out: RowBatch) -> int:
        """Copy the rows from sequence `first` on into `out`; return how many are whole.

        0: there are none yet, or the writer has lapped `first` (then go on from `oldest`).
        """
        count = min(len(out), self._head.load() - first)
        if count <= 0:
            return 0
        self._copy(first, count, out)
        return count if self._whole(first, out.first(count), np.arange(first, first + count)) else 0

    def take(self, sequences: NDArray[np.int64], lowest: int, out: RowBatch) -> bool:
        """Copy the rows of `sequences` int64[n], all from `lowest` up to `head`, into `out`; say if all are whole.

        False: the writer lapped the reader meanwhile; draw again.
        """
        np.take(self.rows, sequences % self.slots, axis=0, out=out.words, mode="clip")
        return self._whole(lowest, out, sequences)

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

    def _whole(self, lowest: int, out: RowBatch, sequences: NDArray[np.int64]) -> bool:
        if lowest < self._reserve.load() - self.slots:
            return False
        if not self._sealing.load():
            return True
        return np.array_equal(out.sequence, sequences) and bool(sealed(out.words).all())
