"""After a rise of the error: whether the target has changed, and what becomes of what was remembered."""

import numpy as np
import pytest

from pipeline.trainer.target_change import Errors, TargetChange
from tests.trainer.streams import Stream, corpus

STREAM, JUDGE = corpus().only("stream"), corpus().only("judge")
RNG = np.random.default_rng(0)
SMALL = RNG.gamma(2, 0.2, 2000).astype(np.float32)
LARGE = SMALL + 10


def doubt(before: Errors = SMALL) -> TargetChange:
    """Return one that began at row 1,000."""
    change = TargetChange()
    change.begin(1000, before)
    return change


@pytest.mark.parametrize(("new", "remembered"), [(LARGE, SMALL), (SMALL, LARGE)])
def test_rows_that_are_nearly_all_wrong_are_of_another_target(new: Errors, remembered: Errors) -> None:
    """New ones or remembered ones, whichever the model fits less; with as many held-out groups as the gate needs."""
    assert doubt().is_certain(new, remembered, held_out_groups=4)
    assert not doubt().is_certain(new, remembered, held_out_groups=3)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.7])
def test_wrong_scores_among_right_ones_are_not(share: float) -> None:
    """However far off they are: there have to be three times as many of them as of others."""
    wrong = RNG.random(len(SMALL)) < share
    assert not doubt().is_certain(np.where(wrong, 80 * LARGE, SMALL), SMALL, held_out_groups=50)


def test_rows_as_wrong_as_those_before_are_not() -> None:
    """Where the error was as large before the rise, it says nothing of a change; nor where there are no rows."""
    assert not doubt(before=LARGE).is_certain(LARGE, LARGE, held_out_groups=50)
    assert not doubt().is_certain(LARGE, SMALL[:0], held_out_groups=50)
    assert not doubt().is_certain(SMALL[:0], LARGE, held_out_groups=50)


def test_a_doubt_is_looked_into_as_rows_come_and_given_up() -> None:
    """First after 2,000 rows, then after every thousand, until 10,000 have come."""
    assert not TargetChange().is_due(5000)
    change = doubt()
    due = [cursor for cursor in range(1000, 20_000, 100) if change.is_due(cursor)]
    assert due == list(range(3000, 11_001, 1000))
    assert change.since is None


def test_a_new_rise_begins_the_doubt_anew() -> None:
    """One soon after the first belongs to the first."""
    change = doubt()
    change.begin(1500, LARGE)
    assert change.since == 1000
    change.begin(9000, LARGE)
    assert change.since == 9000


def test_a_doubt_goes_on_where_it_was() -> None:
    """Restored, it is due when the other is; a ring that begins anew ends it."""
    one, other = doubt(), TargetChange()
    assert one.is_due(3000)
    other.restore(one.state())
    assert [other.is_due(cursor) for cursor in (3999, 4000)] == [False, True]
    assert other.is_certain(LARGE, SMALL, held_out_groups=4)
    assert not other.is_due(500)
    assert other.since is None
    other.restore(one.state())
    other.restore([])
    assert other.since is None


def test_what_contradicts_is_forgotten() -> None:
    """The target changes in mid-stream: no row from before stays in any memory, and the new one is learned fast."""
    stream = Stream()
    for first in range(0, 11_000, 100):
        stream.feed(STREAM, "vmaf" if first < 5000 else "vmaf_phone", 100, first, groups=[f"job-{first}"])
    training = stream.training
    assert training.report()["target_changes"] == 1
    assert 5000 < training.start < 5500
    for memory in (stream.reservoir, stream.holdout):
        rows = memory.snapshot()
        assert rows.sequence.min() >= training.start
        assert len(rows) > 100
    assert stream.rmse(JUDGE, "vmaf_phone") < 2.5


def test_another_content_is_not_forgotten_for() -> None:
    """A long burst of one source raises the error for a while; what came before stays in memory."""
    stream = Stream()
    stream.feed(STREAM, "vmaf_phone", 4000)
    one = STREAM.rows(np.resize(np.flatnonzero(STREAM.source == STREAM.source[0]), 4000))
    stream.feed(one, "vmaf_phone", 4000)
    assert stream.training.report()["target_changes"] == 0
    assert (stream.reservoir.snapshot().sequence < 4000).sum() > 1000
    assert stream.training.start == 0
