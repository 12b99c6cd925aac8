"""A reservoir: samples of the whole past, spread over groups, written by the trainer.

Class-balancing reservoir sampling (Chrysakis & Moens, "Online Continual Learning from Imbalanced Data", ICML 2020),
with groups for classes: a new row of a group that is not the largest takes the place of a random row of the
largest; within the largest group, plain reservoir sampling (Vitter 1985). Where every group has a single row, groups
themselves are sampled, so that a stream of one-row groups is remembered evenly too. Rows are sealed with a checksum: a
row that a dead writer had half written is dropped, and a reader in another process never takes one.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import numpy as np
from numpy.typing import NDArray

from pipeline.shm.atomics import CACHE_LINE, AtomicInt64
from pipeline.shm.rows import RowBatch, row_words, seal, sealed
from pipeline.shm.segment import Layout

KIND = "reservoir"
_CONTROL_BYTES = 2 * CACHE_LINE


class Reservoir:
    """At most `capacity` rows over a writable `buffer` made for `Reservoir.layout(capacity, n_features)`."""

    def __init__(self, buffer: memoryview, capacity: int, n_features: int) -> None:
        self.capacity = capacity
        self.n_features = n_features
        self._count = AtomicInt64(buffer, 0)
        self._groups_seen = AtomicInt64(buffer, CACHE_LINE)
        self._lineage = AtomicInt64(buffer, CACHE_LINE + 8)
        words = row_words(n_features)
        self._row_bytes = 4 * words
        self._row_view = buffer[_CONTROL_BYTES : _CONTROL_BYTES + capacity * self._row_bytes]
        self.rows: NDArray[np.float32] = np.frombuffer(self._row_view, np.float32).reshape(capacity, words)
        self._group_column = RowBatch.over(self.rows, n_features).group
        self._groups = _GroupIndex()

    @staticmethod
    def layout(capacity: int, n_features: int) -> Layout:
        """Return the layout of a segment that holds such a reservoir."""
        return Layout(KIND, (capacity, n_features), _CONTROL_BYTES + capacity * 4 * row_words(n_features))

    @classmethod
    def private(cls, capacity: int, n_features: int) -> Reservoir:
        """Return an empty reservoir in this process's own memory."""
        return cls(memoryview(bytearray(cls.layout(capacity, n_features).size)), capacity, n_features)

    def __len__(self) -> int:
        return self._count.load()

    @property
    def lineage(self) -> int:
        """A number for the training that the rows are of; 0 while they are not whole."""
        return self._lineage.load()

    @property
    def n_groups(self) -> int:
        """Number of groups that have a row here (known to the writer only)."""
        return len(self._groups)

    def holds(self, group: int) -> bool:
        """Tell whether a group has a row here (known to the writer only)."""
        return self._groups.size(group) > 0

    # The writer.

    def open_writer(self) -> None:
        """Become the writer: drop rows that a dead writer left half written, and index the others."""
        for slot in np.flatnonzero(~sealed(self.rows[: len(self)])).tolist()[::-1]:
            last = len(self) - 1
            self.rows[slot] = self.rows[last]
            self._count.store(last)
        for slot, group in enumerate(RowBatch.over(self.rows[: len(self)], self.n_features).group.tolist()):
            self._groups.saw(group)
            self._groups.add(group, slot)

    def restore(self, words: NDArray[np.float32], groups_seen: int, lineage: int) -> None:
        """Replace the content with saved rows float32[n, row_words]; the first `capacity` of them are kept."""
        self._lineage.store(0)
        self._groups_seen.store(groups_seen)
        self._fill(RowBatch.over(np.array(words[: self.capacity], dtype=np.float32), self.n_features))
        self._lineage.store(lineage)

    def empty(self, lineage: int) -> None:
        """Drop all rows."""
        self.restore(self.rows[:0], 0, lineage)

    def remove(self, chosen: Callable[[RowBatch], NDArray[np.bool_]]) -> int:
        """Drop the rows that `chosen` says yes to, and what lies where no row is; return how many they were."""
        rows = self.snapshot()
        found = chosen(rows)
        self.restore(rows.select(~found).words, self.groups_seen, self.lineage)
        self.rows[len(self) :] = 0
        return int(found.sum())

    def claim(self, lineage: int) -> None:
        """Say that the rows are of `lineage` from now on."""
        self._lineage.store(lineage)

    @property
    def groups_seen(self) -> int:
        """Number of groups that came up for admission so far."""
        return self._groups_seen.load()

    def offer(self, batch: RowBatch, rng: Random) -> dict[int, int]:
        """Offer rows in turn; each is kept or not, by chance and by how well its group is represented.

        Returns the slots that were written, each with the number of the row in it.
        """
        groups = batch.group.tolist()
        slots = [self._offer(row, group, rng) for row, group in zip(batch.words, groups, strict=True)]
        return {slot: number for number, slot in enumerate(slots) if slot is not None}

    def _offer(self, row: NDArray[np.float32], group: int, rng: Random) -> int | None:
        known = self._groups.saw(group)
        if not known:
            self._groups_seen.store(self._groups_seen.load() + 1)
        count = self._count.load()
        if count < self.capacity:
            self._place(count, row, group)
            self._count.store(count + 1)
            return count
        slot = self._victim(group, known, rng)
        if slot is None:
            self._groups.forget_if_absent(group)
        elif (evicted := self._group_at(slot)) == group:
            self._write(slot, row)
        else:
            self._groups.remove(evicted, slot)
            self._place(slot, row, group)
        return slot

    def _victim(self, group: int, known: bool, rng: Random) -> int | None:
        """Choose the slot that a row of `group` takes when the reservoir is full; None: the row is not kept."""
        largest = self._groups.largest()
        if known and self._groups.size(group) == self._groups.size(largest):
            admitted = rng.random() * self._groups.seen(group) < self._groups.size(group)
            return self._groups.pick(group, rng) if admitted else None
        if self._groups.size(largest) == 1 and rng.random() * self._groups_seen.load() >= self.capacity:
            return None
        return self._groups.pick(largest, rng) if self._groups.size(largest) > 1 else int(rng.random() * self.capacity)

    def _place(self, slot: int, row: NDArray[np.float32], group: int) -> None:
        self._write(slot, row)
        self._groups.add(group, slot)

    def _write(self, slot: int, row: NDArray[np.float32]) -> None:
        self.rows[slot] = row
        seal(self._row_view[slot * self._row_bytes : (slot + 1) * self._row_bytes])

    def _group_at(self, slot: int) -> int:
        return int(self._group_column[slot])

    def _fill(self, batch: RowBatch) -> None:
        self._count.store(0)
        self._groups = _GroupIndex()
        for slot, (row, group) in enumerate(zip(batch.words, batch.group.tolist(), strict=True)):
            self._groups.saw(group)
            self._place(slot, row, group)
        self._count.store(len(batch))

    # Readers.

    def take(self, slots: NDArray[np.intp], out: RowBatch) -> None:
        """Copy the rows of `slots` intp[n], all under `len`, into `out`. For the writer's own process."""
        self.rows.take(slots, 0, out.words, "clip")

    def groups(self) -> NDArray[np.uint64]:
        """Return the groups uint64[n] that have a row here, each once; for any process, and for little."""
        return np.unique(self._group_column[: self._count.load()])

    def snapshot(self) -> RowBatch:
        """Copy the rows that are whole; for any process."""
        words = self.rows[: self._count.load()].copy()
        return RowBatch.over(words[sealed(words)], self.n_features)


class _GroupIndex:
    """Which slots each group has, how often it was seen, and which group is the largest; every call is O(1)."""

    def __init__(self) -> None:
        self._slots: dict[int, list[int]] = {}
        self._places: dict[int, int] = {}
        """Where in its group's list each slot is."""
        self._seen: dict[int, int] = {}
        self._of_size: dict[int, dict[int, None]] = {}
        self._largest_size = 0

    def __len__(self) -> int:
        return len(self._slots)

    def saw(self, group: int) -> bool:
        """Count a row of `group`; return whether the group has rows here."""
        self._seen[group] = self._seen.get(group, 0) + 1
        return group in self._slots

    def forget_if_absent(self, group: int) -> None:
        """Forget how often a group was seen that has no rows here: there may be any number of these."""
        if group not in self._slots:
            del self._seen[group]

    def seen(self, group: int) -> int:
        return self._seen[group]

    def size(self, group: int) -> int:
        return len(self._slots.get(group, ()))

    def largest(self) -> int:
        return next(iter(self._of_size[self._largest_size]))

    def pick(self, group: int, rng: Random) -> int:
        slots = self._slots[group]
        return slots[int(rng.random() * len(slots))]

    def add(self, group: int, slot: int) -> None:
        slots = self._slots.setdefault(group, [])
        self._resize(group, len(slots), len(slots) + 1)
        self._places[slot] = len(slots)
        slots.append(slot)

    def remove(self, group: int, slot: int) -> None:
        slots = self._slots[group]
        self._resize(group, len(slots), len(slots) - 1)
        place, last = self._places.pop(slot), slots.pop()
        if last != slot:
            slots[place] = last
            self._places[last] = place
        if not slots:
            del self._slots[group], self._seen[group]

    def _resize(self, group: int, old: int, new: int) -> None:
        if old:
            del self._of_size[old][group]
        if new:
            self._of_size.setdefault(new, {})[group] = None
        if new > self._largest_size:
            self._largest_size = new
        while self._largest_size and not self._of_size.get(self._largest_size):
            self._largest_size -= 1
