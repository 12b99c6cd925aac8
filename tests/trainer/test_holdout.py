"""Held-out groups."""

import random

import pytest

from pipeline.shm.rows import HELD_OUT, RowBatch
from pipeline.trainer.holdout import HoldOut
from tests.trainer.streams import group_of, names, private_reservoir


def rows_of(*groups: str) -> RowBatch:
    """Return one row a group."""
    batch = RowBatch(len(groups), 6)
    batch.group[:] = [group_of(name) for name in groups]
    return batch


def hold_out() -> HoldOut:
    """Return one that has seen nothing."""
    return HoldOut(private_reservoir(), private_reservoir())


def divert(holdout: HoldOut, *groups: str) -> list[int]:
    """Send a row of each group; return the groups of those to train on, which are then remembered."""
    coin = random.Random(0)
    fresh = holdout.divert(rows_of(*groups), coin)
    holdout._trained_on.offer(fresh, coin)
    return [int(group) for group in fresh.group]


def test_whole_groups_are_held_out() -> None:
    """A held-out group's rows all go to the reservoir, another's all to training."""
    holdout = hold_out()
    (inside,), (outside,) = names(1, held_out=True), names(1, held_out=False)
    for _ in range(10):
        assert divert(holdout, inside, outside, outside, inside) == [group_of(outside)] * 2
    assert set(holdout.rows().group.tolist()) == {group_of(inside)}
    assert (holdout.trained, holdout.diverted) == (20, 20)


def test_about_one_group_in_eight() -> None:
    """The hash holds out about an eighth of the groups."""
    assert 0.10 < hold_out().belongs(rows_of(*(f"clip-{number}" for number in range(4000)))).mean() < 0.15


@pytest.mark.parametrize("at_once", [1, 10])
def test_of_the_first_groups_every_second_one_is_held_out(at_once: int) -> None:
    """Four groups are held out after eight, whatever their hashes say, and stay so; then the hash alone decides."""
    holdout, sent = hold_out(), names(10, held_out=False)
    for _ in range(3):
        for first in range(0, len(sent), at_once):
            divert(holdout, *sent[first : first + at_once])
    held = set(holdout.rows().group.tolist())
    assert held == {group_of(name) for name in sent[1:8:2]}
    assert (holdout.trained, holdout.diverted) == (18, 12)


def test_what_was_chosen_is_known_after_a_restart() -> None:
    """A group that was held out before, or trained on, is so by the next trainer on the same memory."""
    first = hold_out()
    one, other = names(2, held_out=False)
    divert(first, one)
    divert(first, other)
    second = HoldOut(first.reservoir, first._trained_on)
    assert divert(second, other, one) == [group_of(one)]


def test_a_stream_of_held_out_groups_alone_is_learned_all_the_same() -> None:
    """After a thousand rows, no more than half of all rows are held out, so that training never starves."""
    holdout = hold_out()
    (inside,) = names(1, held_out=True)
    for _ in range(300):
        divert(holdout, *[inside] * 10)
    assert holdout.trained >= 900
    assert holdout.diverted <= holdout.trained + 1010


def test_what_is_held_out_where_it_comes_from_is_held_out() -> None:
    """Also where most rows are such, and for rows of the group that do not say so; never is one trained on."""
    holdout = hold_out()
    held, other = names(2, held_out=False)
    for _ in range(300):
        rows = rows_of(*[held] * 10)
        rows.flags[:] = HELD_OUT
        assert not len(holdout.divert(rows, random.Random(0)))
    assert holdout.divert(rows_of(other), random.Random(0)).group.tolist() == [group_of(other)]
    assert holdout.diverted == 3000


def test_a_group_that_was_trained_on_until_then_is_named() -> None:
    """Once, when the first row of it says that it is held out elsewhere."""
    holdout = hold_out()
    (late,) = names(1, held_out=False)
    assert divert(holdout, late) == [group_of(late)]
    assert not holdout.late
    rows = rows_of(late)
    rows.flags[:] = HELD_OUT
    assert not len(holdout.divert(rows, random.Random(0)))
    assert holdout.late == [group_of(late)]
