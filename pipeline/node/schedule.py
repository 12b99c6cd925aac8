"""Which frame of a corpus is sent when, and on which connection."""

import time
from collections.abc import Iterable, Iterator
from itertools import chain, pairwise, zip_longest
from typing import Protocol, TypeVar

import numpy as np

from pipeline.corpus.table import Corpus

T = TypeVar("T")


class Stop(Protocol):
    """Something to wait on that tells when to stop, such as `threading.Event`."""

    def wait(self, timeout: float, /) -> bool:
        """Wait up to ``timeout`` seconds; tell whether to stop."""
        ...


def clips(corpus: Corpus) -> list[range]:
    """Return the rows of each encode, in the corpus's order."""
    bounds = [0, *(np.flatnonzero(np.diff(corpus.clip)) + 1).tolist(), len(corpus)]
    return [range(first, end) for first, end in pairwise(bounds)]


def interleave(corpus: Corpus, lanes: int, *, loop: bool) -> Iterator[tuple[int, int]]:
    """Yield (lane, row): encodes run side by side, each lane sending whole clips, one frame a turn."""
    whole = clips(corpus)
    dealt = [whole[lane::lanes] for lane in range(lanes)]
    while True:
        for turn in zip_longest(*map(chain.from_iterable, dealt)):
            yield from ((lane, row) for lane, row in enumerate(turn) if row is not None)
        if not loop:
            return


def paced(items: Iterable[T], rate: float, stop: Stop) -> Iterator[T]:
    """Yield the items at ``rate`` a second until told to stop; what could not go in time is made up for."""
    start = time.monotonic()
    for index, item in enumerate(items):
        if stop.wait(max(0.0, start + index / rate - time.monotonic())):
            return
        yield item
