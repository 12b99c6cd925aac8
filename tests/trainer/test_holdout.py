"""Held-out groups."""

import random

import numpy as np

from pipeline.shm.rows import RowBatch
from pipeline.trainer.holdout import HoldOut
from tests.trainer.streams import group_of, names, private_reservoir


def rows_of(*groups: str) -> RowBatch:
    """Return one row a group."""
    batch = RowBatch(len(groups), 6)
    batch.group[:] = [group_of(name) for name in groups]
    return batch


def test_whole_groups_are_held_out() -> None:
    """A held-out group's rows all go to the reservoir, another's all to training."""
    reservoir = private_reservoir()
    holdout = HoldOut(reservoir)
    (inside,), (outside,) = names(1, held_out=True), names(1, held_out=False)
    for _ in range(10):
        fresh = holdout.divert(rows_of(inside, outside, outside, inside), random.Random(0))
        assert fresh.group.tolist() == [group_of(outside)] * 2
    assert set(holdout.rows().group.tolist()) == {group_of(inside)}
    assert (holdout.trained, holdout.diverted) == (20, 20)


def test_about_one_group_in_eight() -> None:
    """The hash holds out about an eighth of the groups."""
    groups = np.array([group_of(f"clip-{number}") for number in range(4000)], np.uint64)
    assert 0.10 < HoldOut.belongs(groups).mean() < 0.15


def test_a_stream_of_held_out_groups_alone_is_learned_all_the_same() -> None:
    """After a thousand rows, no more than half of all rows are held out, so that training never starves."""
    holdout = HoldOut(private_reservoir())
    (inside,) = names(1, held_out=True)
    for _ in range(300):
        holdout.divert(rows_of(*[inside] * 10), random.Random(0))
    assert holdout.trained >= 900
    assert holdout.diverted <= holdout.trained + 1010
