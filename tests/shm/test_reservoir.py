"""The reservoir's memory: what survives its writer, and what a reader in another process gets."""

import os
import signal
import time
from itertools import count
from random import Random

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.shm import segment
from pipeline.shm.atomics import AtomicInt64
from pipeline.shm.reservoir import Reservoir
from pipeline.shm.rows import RowBatch
from tests.support.rows import N_FEATURES, intact, rows_of

CAPACITY = 200


def rows(first: int, how_many: int) -> RowBatch:
    """Return self-verifying rows, `how_many` of them from sequence `first` on."""
    sequences = np.arange(first, first + how_many)
    batch = rows_of(sequences)
    batch.sequence[:] = sequences
    return batch


def writer_over(buffer: bytearray) -> Reservoir:
    """Open a reservoir over `buffer` as its writer."""
    reservoir = Reservoir(memoryview(buffer), CAPACITY, N_FEATURES)
    reservoir.open_writer()
    return reservoir


def filled() -> tuple[bytearray, Reservoir]:
    """Return a buffer and the full reservoir in it."""
    buffer = bytearray(Reservoir.layout(CAPACITY, N_FEATURES).size)
    reservoir = writer_over(buffer)
    reservoir.offer(rows(0, 300), Random(0))
    return buffer, reservoir


def sequences(reservoir: Reservoir) -> list[int]:
    """Return which rows it holds."""
    return sorted(reservoir.snapshot().sequence.tolist())


def test_the_next_writer_finds_everything() -> None:
    """Rows, groups and the count of groups are what they were, and rows can be added and replaced."""
    buffer, before = filled()
    after = writer_over(buffer)
    assert sequences(after) == sequences(before)
    assert (after.n_groups, after.groups_seen) == (before.n_groups, before.groups_seen)
    after.offer(rows(300, 300), Random(1))
    assert len(after) == CAPACITY
    assert intact(after.snapshot(), after.snapshot().sequence).all()


def test_half_written_rows_are_dropped_and_no_others() -> None:
    """Three rows spoilt, the last among them: a reader leaves them out, and the next writer fills their places."""
    buffer, before = filled()
    for slot in (3, 77, CAPACITY - 1):
        before.rows[slot, 20] += 1
    lost = {int(before.rows.view(np.int64)[slot, 0]) for slot in (3, 77, CAPACITY - 1)}
    kept = sequences(before)
    assert len(kept) == CAPACITY - 3
    assert not lost & set(kept)
    after = writer_over(buffer)
    assert sequences(after) == kept
    after.offer(rows(300, 3), Random(2))
    assert sequences(after) == [*kept, 300, 301, 302]


def _open_and_die_at_store(n: int, buffer: memoryview) -> None:
    """Open the reservoir in this process and get killed just before its n-th change of a counter."""
    store, stores = AtomicInt64.store, count(1)

    def counted(self: AtomicInt64, value: int) -> None:
        if next(stores) == n:
            os.kill(os.getpid(), signal.SIGKILL)
        store(self, value)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AtomicInt64, "store", counted)
        Reservoir(buffer, CAPACITY, N_FEATURES).open_writer()


def test_a_writer_killed_while_it_opens_costs_no_row(segment_name: str) -> None:
    """At no step are there fewer rows than before (one may be there twice): it may be killed or read at any."""
    made, _ = segment.attach_or_create(segment_name, Reservoir.layout(CAPACITY, N_FEATURES))
    reservoir = Reservoir(made.body, CAPACITY, N_FEATURES)
    reservoir.open_writer()
    reservoir.offer(rows(0, 300), Random(0))
    reservoir.rows[[3, 77], 20] += 1
    kept = set(sequences(reservoir))
    for n in range(1, 5):
        child = os.fork()
        if child == 0:
            _open_and_die_at_store(n, made.body)
            os._exit(0)
        os.waitpid(child, 0)
        assert set(sequences(reservoir)) == kept
    reservoir.open_writer()
    assert set(sequences(reservoir)) == kept


def test_restore_gives_back_what_was_saved() -> None:
    """Into a smaller reservoir too: as many rows as there is room for."""
    _, saved = filled()
    words = saved.snapshot().words
    same = Reservoir.private(CAPACITY, N_FEATURES)
    same.restore(words, saved.groups_seen, 1)
    assert sequences(same) == sequences(saved)
    assert same.groups_seen == saved.groups_seen
    smaller = Reservoir.private(50, N_FEATURES)
    smaller.restore(words, saved.groups_seen, 1)
    assert len(smaller) == 50
    assert intact(smaller.snapshot(), smaller.snapshot().sequence).all()


def test_readers_in_other_processes_get_whole_rows_only(segment_name: str) -> None:
    """While a writer replaces rows without pause and is then killed: every row of every snapshot is intact."""
    made, _ = segment.attach_or_create(segment_name, Reservoir.layout(CAPACITY, N_FEATURES))
    reservoir = Reservoir(made.body, CAPACITY, N_FEATURES)
    child = os.fork()
    if child == 0:
        reservoir.open_writer()
        rng = Random(3)
        first = 0
        while True:
            reservoir.offer(rows(first, 1000), rng)
            first += 1000
    try:
        until = time.monotonic() + 20
        seen: set[int] = set()
        while len(seen) <= 3 * CAPACITY and time.monotonic() < until:
            snapshot = reservoir.snapshot()
            assert intact(snapshot, snapshot.sequence).all()
            seen.update(snapshot.sequence.tolist())
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert len(seen) > 3 * CAPACITY
    reservoir.open_writer()
    assert len(reservoir) >= CAPACITY - 1
    assert intact(reservoir.snapshot(), reservoir.snapshot().sequence).all()


def test_more_groups_than_rows() -> None:
    """A stream of more groups than there is room for, some of which come again, is taken without end or growth."""
    reservoir = Reservoir.private(8, 2)
    reservoir.open_writer()
    rng = Random(0)
    batch = RowBatch(1, 2)
    for _ in range(5000):
        batch.group[0] = rng.randrange(40)
        reservoir.offer(batch, rng)
    assert len(reservoir) == reservoir.n_groups == 8
    assert len(reservoir._groups._seen) == 8


def test_groups_that_shrink_keep_what_they_have() -> None:
    """New groups take places of old ones, one by one, and no group loses or gains a row that was not written over."""
    reservoir, rng = Reservoir.private(CAPACITY, N_FEATURES), Random(3)
    for step in range(60):
        batch = rows(20 * step, 20)
        batch.group[:] = 1 + np.arange(20 * step, 20 * step + 20) ** 2 // 4000
        before = RowBatch.over(reservoir.rows[: len(reservoir)].copy(), N_FEATURES).sequence
        written = reservoir.offer(batch, rng)
        held = reservoir.snapshot()
        kept = np.setdiff1d(np.arange(len(before)), list(written))
        np.testing.assert_array_equal(held.sequence[kept], before[kept])
        where = {int(group): np.flatnonzero(held.group == group).tolist() for group in np.unique(held.group)}
        assert {group: sorted(slots) for group, slots in reservoir._groups._slots.items()} == where


def test_rows_are_of_a_training_once_they_are_whole() -> None:
    """A writer that dies while it fills the reservoir leaves one that belongs to nobody."""
    reservoir, other = Reservoir.private(8, N_FEATURES), Reservoir.private(8, N_FEATURES)
    other.open_writer()
    other.offer(rows_of(np.arange(5)), Random(0))
    words = other.snapshot().words
    seen: list[int] = []
    place = reservoir._place

    def placing(slot: int, row: NDArray[np.float32], group: int) -> None:
        seen.append(reservoir.lineage)
        place(slot, row, group)

    reservoir._place = placing  # type: ignore[method-assign]
    reservoir.restore(words, 5, lineage=7)
    assert (seen, reservoir.lineage, len(reservoir)) == ([0] * 5, 7, 5)
    reservoir.empty(8)
    assert (reservoir.lineage, len(reservoir), reservoir.groups_seen) == (8, 0, 0)
