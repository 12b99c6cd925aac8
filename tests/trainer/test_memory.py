"""What a batch is made of."""

import random

import numpy as np
import pytest

from pipeline.shm.rows import RowBatch
from pipeline.trainer.memory import Memory
from pipeline.trainer.random_indices import RandomIndices
from tests.support.rows import append
from tests.trainer.streams import group_of, private_reservoir, private_ring


def rows(ring_rows: int, capacity: int = 64, recent_share: float = 0.5) -> tuple[Memory, RowBatch]:
    """Return a memory over a ring whose rows' scores are their sequence, and a reservoir whose scores are negative."""
    ring, reservoir = private_ring(2, capacity), private_reservoir(2)
    for sequence in range(ring_rows):
        append(ring, group_of("a"), sequence, float(sequence), [0.0, 0.0])
    old = RowBatch(30, 2)
    old.score[:] = -1
    old.group[:] = group_of("a")
    reservoir.offer(old, random.Random(0))
    new = RowBatch(8, 2)
    new.score[:] = 1000
    return Memory(ring, reservoir, 32, recent_share, seed=0), new


@pytest.mark.parametrize(("recent_share", "recent"), [(0.0, 0), (0.25, 6), (0.5, 12), (1.0, 24)])
def test_a_batch_has_every_new_row_and_both_memories(recent_share: float, recent: int) -> None:
    """All new rows are in; of the rest, the given share is recent and the others are of the whole past."""
    memory, new = rows(50, recent_share=recent_share)
    memory.remember(np.arange(50))
    score = memory.batch(new).score
    assert (score[:8] == 1000).all()
    assert (score[8 : 8 + recent] >= 0).all()
    assert (score[8 + recent :] == -1).all()


def test_only_remembered_rows_are_replayed() -> None:
    """A row of the ring that was not remembered (it is held out, or not yet observed) is never drawn."""
    memory, _ = rows(50)
    memory.remember(np.arange(10, 20))
    drawn = {float(score) for _ in range(50) for score in memory.batch().score}
    assert drawn == {-1.0, *map(float, range(10, 20))}


def test_rows_that_left_the_ring_are_not_drawn() -> None:
    """Whatever the writer overwrote is forgotten, also where everything remembered is gone."""
    memory, _ = rows(200)
    memory.remember(np.arange(100))
    assert {float(score) for score in memory.batch().score} == {-1.0}
    memory.remember(np.arange(130, 150))
    assert max(memory.batch().score) >= 136
    drawn = {float(score) for _ in range(50) for score in memory.batch().score}
    assert drawn == {-1.0, *map(float, range(136, 150))}


def test_an_empty_memory_gives_new_rows_alone() -> None:
    """The very first batch has only new rows, and a replayed one none at all."""
    ring, reservoir = private_ring(2), private_reservoir(2)
    memory = Memory(ring, reservoir, 32, 0.5, seed=0)
    assert len(memory.batch(RowBatch(8, 2))) == 8
    assert len(memory.batch()) == 0


def test_draws_continue_where_they_were() -> None:
    """A sequence of random numbers restored by its count goes on as the original, across blocks."""
    one = RandomIndices(5)
    for _ in range(700):
        one.indices(13, 1000)
    other = RandomIndices(5, one.made)
    for _ in range(700):
        assert np.array_equal(one.indices(13, 1000), other.indices(13, 1000))
    assert one.made == other.made


def test_draws_are_uniform() -> None:
    """Each index comes up about as often as any other, and none is out of range."""
    draws = RandomIndices(1)
    counts = np.bincount(np.concatenate([draws.indices(32, 10) for _ in range(1000)]), minlength=10)
    assert len(counts) == 10
    assert np.abs(counts - 3200).max() < 5 * np.sqrt(3200)
