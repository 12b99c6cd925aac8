"""Torn reads are never accepted, however often the writer laps the reader."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.shm.ring import KIND, SPARE_SLOTS, Ring
from pipeline.shm.rows import RowBatch, sealed
from tests.support.processes import attached, running
from tests.support.rows import N_FEATURES, intact
from tests.support.waiting import eventually

CAPACITY = 64
SECONDS = 1.5
PATIENCE_S = 30.0


@contextmanager
def lapped_ring(name: str, *, sealing: bool) -> Iterator[Ring]:
    """Give a ring that another process writes to without pause, several times round already."""
    with running("tests.shm.ring_writer", name, str(CAPACITY), str(sealing)):
        ring = _attached(name)
        assert eventually(lambda: ring.head >= 3 * ring.slots)
        yield ring


def _attached(name: str) -> Ring:
    return Ring(attached(name, KIND).body, CAPACITY, N_FEATURES)


def where_the_writer_is(ring: Ring, rng: np.random.Generator) -> int:
    """Return a sequence whose slot the writer is about to write over: the worst one to start reading at."""
    return int(ring.head - ring.slots + rng.integers(0, SPARE_SLOTS // 2))


@pytest.mark.parametrize("sealing", [False, True])
def test_no_torn_row_is_accepted(segment_name: str, sealing: bool) -> None:
    """For seconds, by all ways of reading: accepted rows are intact; unchecked copies of the same rows are not."""
    rng = np.random.default_rng(0)
    batch = RowBatch(CAPACITY, N_FEATURES)
    accepted = rejected = spoilt_if_unchecked = 0
    with lapped_ring(segment_name, sealing=sealing) as ring:
        began = time.monotonic()
        while time.monotonic() < began + (SECONDS if rejected > 100 and spoilt_if_unchecked else PATIENCE_S):
            first = where_the_writer_is(ring, rng)
            count = ring.read(first, batch)
            assert intact(batch.first(count), np.arange(first, first + count)).all()
            if not count:
                spoilt_if_unchecked += int((~intact(batch, np.arange(first, first + CAPACITY))).sum())
            offsets = rng.integers(0, CAPACITY, 32)
            taken = ring.take(first, offsets, batch.first(32))
            assert not taken or intact(batch.first(32), first + offsets).all()
            rows, _ = ring.snapshot()
            assert intact(rows, rows.sequence).all()
            accepted += count + 32 * taken + len(rows)
            rejected += (not count) + (not taken)
    assert accepted > 1000
    assert rejected > 100
    assert spoilt_if_unchecked > 0, "the writer never came near: the test has shown nothing"


def unchecked_copy(ring: Ring, first: int) -> RowBatch:
    """Copy rows as they lie, whatever the writer is doing."""
    batch = RowBatch(CAPACITY, N_FEATURES)
    batch.words[:] = ring.rows[np.arange(first, first + CAPACITY) % ring.slots]
    return batch


def test_the_seal_alone_tells_torn_rows(segment_name: str) -> None:
    """Where stores may be reordered, counters prove nothing: checksum and sequence must find every torn row alone."""
    rng = np.random.default_rng(1)
    sealed_rows = spoilt = 0
    with lapped_ring(segment_name, sealing=True) as ring:
        began = time.monotonic()
        while time.monotonic() < began + (SECONDS if min(sealed_rows, spoilt) > 100 else PATIENCE_S):
            first = where_the_writer_is(ring, rng)
            expected: NDArray[np.int64] = np.arange(first, first + CAPACITY)
            batch = unchecked_copy(ring, first)
            whole = sealed(batch.words) & (batch.sequence == expected)
            good = intact(batch, expected)
            assert good[whole].all()
            sealed_rows += int(whole.sum())
            spoilt += int((~good).sum())
    assert sealed_rows > 100
    assert spoilt > 100


def test_a_killed_writer_costs_nothing_that_was_published(segment_name: str) -> None:
    """SIGKILL at any moment: the newest rows are all there, and the next writer goes on behind them."""
    head = 0
    for _ in range(5):
        with running("tests.shm.ring_writer", segment_name, str(CAPACITY), "False") as writer:
            ring = _attached(segment_name)
            assert eventually(lambda ring=ring, before=head: ring.head > before + 2 * ring.slots)  # type: ignore[misc]
            writer.kill()
            writer.wait()
        assert ring.head > head
        head = ring.head
        rows, _ = ring.snapshot()
        assert rows.sequence[-CAPACITY:].tolist() == list(range(head - CAPACITY, head))
        assert intact(rows, rows.sequence).all()
