"""Rows that are left out, and weights that are started over from."""

import math

import numpy as np
import pytest

from pipeline.shm.exclusion import Exclusion, without
from pipeline.shm.rows import RowBatch
from tests.trainer.streams import Stream, corpus, group_of, names

STREAM = corpus().only("stream")


def rows_of(groups: list[int], nodes: list[int], arrivals: list[float]) -> RowBatch:
    """Make rows that have nothing but where they are from and when they came."""
    rows = RowBatch(len(groups), 6)
    rows.group[:], rows.node[:], rows.arrival[:] = groups, nodes, arrivals
    return rows


@pytest.mark.parametrize(
    ("exclusion", "left"),
    [
        (Exclusion(group=1), [1, 3]),
        (Exclusion(node=7), [2, 3]),
        (Exclusion(group=1, node=7), [1, 2, 3]),
        (Exclusion(since=2.0), [0]),
        (Exclusion(until=2.0), [1, 2, 3]),
        (Exclusion(group=2, since=3.0, until=4.0), [0, 1, 2]),
        (Exclusion(group=2**64 - 1), [0, 1, 2, 3]),
    ],
)
def test_what_an_exclusion_covers(exclusion: Exclusion, left: list[int]) -> None:
    """All that is named has to fit; of a time the beginning counts, the end does not."""
    rows = rows_of([1, 2, 1, 2], [7, 7, 8, 8], [1.0, 2.0, 2.5, 3.0])
    rows.sequence[:] = np.arange(4)
    assert without(rows, [exclusion]).sequence.tolist() == left


def test_an_excluded_group_is_in_no_memory_and_in_no_batch() -> None:
    """It leaves reservoir and hold-out at once, is replayed no more, and what comes of it later is counted only."""
    bad, bad_held = names(2, held_out=False)[0], names(2, held_out=True)[0]
    sent = [*names(3, held_out=False), *names(3, held_out=True)]
    stream = Stream()
    stream.feed(STREAM, "vmaf", 600, groups=sent)
    hashes = [group_of(bad), group_of(bad_held)]
    before = len(stream.reservoir) + len(stream.holdout)
    left = stream.training.exclude([Exclusion(group=each) for each in hashes])
    assert left == before - len(stream.reservoir) - len(stream.holdout) > 100
    groups_seen: set[int] = set()
    step = stream.training._step

    def record(batch: RowBatch) -> None:
        groups_seen.update(batch.group.tolist())
        step(batch)

    stream.training._step = record  # type: ignore[method-assign]
    stream.feed(STREAM, "vmaf", 600, first=600, groups=sent)
    assert not groups_seen & set(hashes)
    assert not {*stream.reservoir.snapshot().group.tolist(), *stream.holdout.snapshot().group.tolist()} & set(hashes)
    later, _ = stream.ring.snapshot()
    assert stream.training.excluded == np.isin(later.group[600:], np.array(hashes, np.uint64)).sum() > 100
    stream.training.exclude([])
    stream.feed(STREAM, "vmaf", 60, first=1200, groups=sent)
    assert hashes[0] in groups_seen


def test_a_reset_starts_over_from_the_weights_that_are_given() -> None:
    """Weights, optimizer, drift and figures begin again; samples stay unless they are to be forgotten."""
    stream = Stream()
    stream.feed(STREAM, "vmaf_phone", 800)
    training = stream.training
    assert stream.rmse(STREAM, "vmaf_phone") < 8
    training.reset_to(stream.base.vector())
    assert np.array_equal(training.export_vector(), stream.base.vector())
    assert training.learner.steps == 0
    assert training.report()["prequential_rows"] == 0
    assert len(stream.reservoir) > 0
    stream.feed(STREAM, "vmaf_phone", 800, first=800)
    assert stream.rmse(STREAM, "vmaf_phone") < 8
    training.reset_to(stream.base.vector(), forget_samples=True)
    assert (len(stream.reservoir), len(stream.holdout)) == (0, 0)
    assert training.cursor == training.start == stream.ring.head
    assert not math.isfinite(training.report().get("held_out_ema_rmse", math.nan))


def test_a_restored_training_knows_which_resets_it_has_gone_through() -> None:
    """Neither a reset nor a count of what was left out comes again after a restart."""
    stream = Stream()
    stream.feed(STREAM, "vmaf", 200)
    stream.training.resets, stream.training.excluded = 3, 5
    other = stream.new_training()
    other.restore(*stream.training.state())
    assert (other.resets, other.excluded) == (3, 5)
    meta, vectors = stream.training.state()
    del meta["resets"], meta["excluded"]  # as an older version has saved it
    another = stream.new_training()
    another.restore(meta, vectors)
    assert (another.resets, another.excluded) == (0, 0)
