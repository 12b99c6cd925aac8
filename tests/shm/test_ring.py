"""The ring within one process: order, limits, restore, and what stays readable."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.shm.ring import SPARE_SLOTS, Ring
from pipeline.shm.rows import RowBatch
from tests.support.rows import N_FEATURES, intact, write


def filled(head: int, capacity: int = 64) -> Ring:
    """Return a ring that has seen `head` rows."""
    ring = Ring.private(capacity, N_FEATURES)
    write(ring, head)
    return ring


@pytest.mark.parametrize("head", [0, 1, 63, 64, 65, 64 + SPARE_SLOTS, 64 + SPARE_SLOTS + 1, 5000])
def test_the_newest_rows_are_readable(head: int) -> None:
    """After any number of rows, exactly the `capacity` newest are promised, and they are right."""
    ring = filled(head)
    assert ring.oldest == max(0, head - 64)
    batch = RowBatch(200, N_FEATURES)
    count = ring.read(ring.oldest, batch)
    assert count == min(head, 64)
    assert intact(batch.first(count), np.arange(ring.oldest, head)).all()


def test_rows_that_were_lapped_are_not_read() -> None:
    """A reader that is too far behind is told so, by read and by take."""
    ring = filled(5000)
    batch = RowBatch(8, N_FEATURES)
    assert ring.read(100, batch) == 0
    assert not ring.take(100, np.arange(8), batch)


def test_a_burst_never_costs_the_newest_rows() -> None:
    """However many rows a writer has at once: the capacity's worth of rows is whole afterwards."""
    ring = filled(3000)
    for burst in (1, 255, 256, 257, 1024, 5000):
        write(ring, burst)
        assert len(ring.snapshot()[0]) >= 64
        assert ring.read(ring.oldest, RowBatch(64, N_FEATURES)) == 64


def test_take_gives_the_rows_asked_for() -> None:
    """Offsets may come in any order, repeat, and reach over the end of the buffer."""
    ring = filled(3000)
    offsets = np.random.default_rng(0).integers(0, 64, 500)
    batch = RowBatch(500, N_FEATURES)
    assert ring.take(ring.oldest, offsets, batch)
    assert intact(batch, ring.oldest + offsets).all()


@pytest.mark.parametrize("sealing", [False, True])
@pytest.mark.parametrize(("saved_capacity", "capacity"), [(64, 64), (64, 300), (300, 64)])
def test_restore_gives_back_what_was_saved(saved_capacity: int, capacity: int, sealing: bool) -> None:
    """Also into a ring of another capacity: no row that is readable was not saved, and counting goes on."""
    saved, head = filled(2500, saved_capacity).snapshot()
    ring = Ring.private(capacity, N_FEATURES, sealing=sealing)
    ring.restore(saved.words, head)
    assert ring.head == 2500
    assert ring.oldest == max(2500 - capacity, int(saved.sequence[0]))
    batch = RowBatch(capacity, N_FEATURES)
    count = ring.read(ring.oldest, batch)
    assert count == ring.head - ring.oldest
    assert intact(batch.first(count), np.arange(ring.oldest, 2500)).all()
    write(ring, 2500)
    assert ring.oldest == 5000 - capacity
    assert intact(ring.snapshot()[0], ring.snapshot()[0].sequence).all()


def test_rows_that_were_never_saved_are_not_made_up() -> None:
    """Fewer saved rows than the capacity, of a long stream: what is missing cannot be read as rows of zeros."""
    saved, head = filled(500, 64).snapshot()
    ring = Ring.private(1000, N_FEATURES)
    ring.restore(saved.words[-20:], head)
    assert ring.oldest == 480
    assert ring.read(400, RowBatch(8, N_FEATURES)) == 0
    assert len(ring.snapshot()[0]) == 20


def test_rows_before_a_gap_are_left_out() -> None:
    """A saved ring with a hole restores to the rows behind the hole."""
    saved, head = filled(60).snapshot()
    ring = Ring.private(64, N_FEATURES)
    ring.restore(np.delete(saved.words, 30, axis=0), head)
    assert ring.oldest == 31
    assert ring.snapshot()[0].sequence.tolist() == list(range(31, 60))


@pytest.mark.parametrize("missing", [1, 3])
def test_missing_newest_rows_cost_only_themselves(missing: int) -> None:
    """All others are restored, and counting goes on behind them."""
    saved, head = filled(60).snapshot()
    ring = Ring.private(64, N_FEATURES)
    ring.restore(saved.words[:-missing], head)
    assert (ring.oldest, ring.head) == (0, 60 - missing)
    assert ring.snapshot()[0].sequence.tolist() == list(range(60 - missing))
    write(ring, 10)
    assert intact(ring.snapshot()[0], np.arange(70 - missing)).all()


def restored_from(saved: Ring) -> Ring:
    """Return a ring that ingest made of what was saved."""
    ring = Ring.private(64, N_FEATURES)
    ring._identity.store(0)
    ring.open_writer()
    rows, head = saved.snapshot()
    ring.restore(rows.words, head)
    ring.begin(parent=saved.identity)
    return ring


def test_a_reader_goes_on_at_the_right_row_of_a_restored_ring() -> None:
    """Behind what it has read of the same rows; where fewer were restored than it had read, at the first new one."""
    first = filled(500)
    second = restored_from(first)
    write(second, 300)
    assert first.identity != second.identity != 0
    assert (second.restored, second.position(first.identity, 450)) == (500, 450)
    assert second.position(first.identity, 700) == 500, "it had read rows that were lost: new ones have these sequences"
    assert second.position(second.identity, 700) == 700
    third = restored_from(second)
    assert third.position(first.identity, 450) == 800, "what it holds may have been read: only what comes is new"
    assert filled(20).position(first.identity, 450) == 0


def test_an_interrupted_restore_can_be_done_again() -> None:
    """A writer that dies in `restore` leaves an empty ring; the next one fills it, or starts from nothing."""
    saved, head = filled(500, 64).snapshot()
    ring = Ring.private(64, N_FEATURES)
    ring.restore(saved.words, head)
    ring._identity.store(0)
    ring.open_writer()
    assert (ring.head, ring.oldest) == (0, 0)
    ring.restore(saved.words, head)
    assert ring.read(436, RowBatch(64, N_FEATURES)) == 64


@given(st.lists(st.integers(0, 300), max_size=12), st.booleans())
def test_any_rhythm_of_bursts_keeps_order(bursts: list[int], sealing: bool) -> None:
    """Whatever the sizes of the rounds, every readable row is the right one."""
    ring = Ring.private(64, N_FEATURES, sealing=sealing)
    for burst in bursts:
        before = ring.head
        write(ring, burst)
        rows, head = ring.snapshot()
        assert head == before + burst
        assert rows.sequence[-64:].tolist() == list(range(ring.oldest, head))
        assert intact(rows, rows.sequence).all()
