"""The order and the pace of the stream."""

import threading
import time
from itertools import islice, repeat

import numpy as np
import pytest

from pipeline.corpus.table import Corpus
from pipeline.node.schedule import clips, interleave, paced

LENGTHS = (3, 1, 2, 4)


@pytest.fixture
def corpus() -> Corpus:
    """Four encodes of different lengths; the feature is the row's number."""
    clip = np.repeat(np.arange(len(LENGTHS)), LENGTHS)
    n = len(clip)
    names = np.full(n, "x")
    return Corpus(
        features=np.arange(n, dtype=np.float32).reshape(n, 1),
        targets={"vmaf": np.zeros(n, np.float32)},
        source=names,
        clip=clip,
        frame=np.arange(n),
        codec=names,
        part=names,
    )


def test_clips_are_whole(corpus: Corpus) -> None:
    """Each encode is one run of rows, and all rows are in one."""
    assert [len(clip) for clip in clips(corpus)] == list(LENGTHS)


@pytest.mark.parametrize("lanes", [1, 2, 3, 5])
def test_every_frame_goes_once_and_a_clip_stays_on_its_lane(corpus: Corpus, lanes: int) -> None:
    """Whatever the number of connections, nothing is left out or doubled, and frames keep their order."""
    sent = list(interleave(corpus, lanes, loop=False))
    assert sorted(row for _, row in sent) == list(range(len(corpus)))
    for clip in clips(corpus):
        assert len({lane for lane, row in sent if row in clip}) == 1
    for lane in range(lanes):
        rows = [row for at, row in sent if at == lane]
        assert rows == sorted(rows)


def test_lanes_run_side_by_side(corpus: Corpus) -> None:
    """Two encodes at once take turns frame by frame."""
    assert [lane for lane, _ in islice(interleave(corpus, 2, loop=False), 6)] == [0, 1] * 3


def test_a_loop_begins_again(corpus: Corpus) -> None:
    """With ``loop`` the corpus follows itself, for ever."""
    n = len(corpus)
    rows = [row for _, row in islice(interleave(corpus, 1, loop=True), 2 * n)]
    assert rows == [*range(n), *range(n)]


def test_the_pace_is_kept_on_average() -> None:
    """Items do not come before their time, however late the ones before were taken."""
    start = time.monotonic()
    taken = 0
    for index, _ in enumerate(paced(repeat(None, 20), 100.0, threading.Event())):
        taken += 1
        assert time.monotonic() - start >= index / 100.0
        if index == 5:
            time.sleep(0.05)
    assert taken == 20


def test_a_stop_ends_the_stream_at_once() -> None:
    """Told to stop in a long pause, the stream ends without waiting for the next item's time."""
    stop = threading.Event()
    threading.Timer(0.05, stop.set).start()
    assert list(paced(range(3), 1e-3, stop)) == [0]
