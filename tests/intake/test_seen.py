"""Which rows came before, of thousands at a time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ingest.dedup import Deduplicator
from pipeline.intake.seen import SeenKeys

NOTHING = np.zeros(0, np.uint64)


@pytest.mark.parametrize("window", [1, 50, 1000])
def test_tells_what_sets_tell(window: int) -> None:
    """Over several windows, with keys that come again within a block, within the window, and long after."""
    rng = np.random.default_rng(window)
    table, sets = SeenKeys(window, NOTHING), Deduplicator(window, [])
    for _ in range(200):
        keys = rng.integers(1, 5 * window + 2, rng.integers(0, window + 1), dtype=np.uint64)
        keys *= np.uint64(0x9E3779B97F4A7C15)
        told = sets.admit(keys.tolist())
        assert table.admit(keys).tolist() == ([True] * len(keys) if told is None else told)


@given(st.lists(st.integers(0, 2**64 - 1), max_size=60))
def test_any_keys_are_known_from_then_on(keys: list[int]) -> None:
    """Also those that all begin in one cell; of equal ones the first is new."""
    block = np.array([*keys, *(key >> 40 for key in keys)], np.uint64)
    block[block == 0] = 1
    table = SeenKeys(1000, NOTHING)
    first = [key not in block.tolist()[:place] for place, key in enumerate(block.tolist())]
    assert table.admit(block).tolist() == first
    assert not table.admit(block).any()


def test_starts_from_what_is_in_the_ring() -> None:
    """More of it than the window holds."""
    newest = np.arange(1, 301, dtype=np.uint64) << np.uint64(40)
    table = SeenKeys(100, newest)
    assert not table.admit(newest[-100:]).any()
    assert table.admit(newest[:100]).all()
