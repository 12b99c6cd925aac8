"""Rows of earlier layouts, as saved states have them."""

import numpy as np
import pytest

from pipeline.shm.rows import RowBatch, of_this_layout, row_words, sealed


def old_rows(wide: int, n_features: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Make three rows with `wide` fields of eight bytes before checksum, score and features."""
    words = 2 * wide + 2 + n_features
    rows = np.zeros((3, words + words % 2), np.float32)
    rows.view(np.uint64)[:, :wide] = np.arange(3 * wide).reshape(3, wide) + 1
    rows[:, 2 * wide + 1] = [10, 20, 30]
    rows[:, 2 * wide + 2 : 2 * wide + 2 + n_features] = np.arange(3 * n_features).reshape(3, n_features)
    return rows


@pytest.mark.parametrize("n_features", [1, 2, 6, 7, 80])
@pytest.mark.parametrize("wide", [4, 5])
def test_rows_of_earlier_layouts_are_read(wide: int, n_features: int) -> None:
    """What they held is there, what they did not hold is zero, and they are whole."""
    words = of_this_layout(old_rows(wide, n_features), n_features)
    assert words is not None
    rows = RowBatch.over(words, n_features)
    assert rows.group.tolist() == [3, 3 + wide, 3 + 2 * wide]
    assert rows.key.tolist() == [4, 4 + wide, 4 + 2 * wide]
    assert rows.node.tolist() == ([5, 10, 15] if wide == 5 else [0, 0, 0])
    assert rows.score.tolist() == [10, 20, 30]
    np.testing.assert_array_equal(rows.features, np.arange(3 * n_features).reshape(3, n_features))
    for column in (rows.job, rows.tenant, rows.codec, rows.height):
        assert not column.any()
    assert sealed(words).all()


@pytest.mark.parametrize("n_features", [1, 2, 6, 7, 80])
def test_rows_without_flags_are_read(n_features: int) -> None:
    """A row of the layout before, which has no more words where these are even in number."""
    words = 19 + n_features + (19 + n_features) % 2
    old = np.zeros((2, words), np.float32)
    old[:, 18 : 19 + n_features] = np.arange(2 * (1 + n_features)).reshape(2, -1)
    found = of_this_layout(old, n_features)
    assert found is not None
    rows = RowBatch.over(found, n_features)
    np.testing.assert_array_equal(rows.content, np.arange(2 * (1 + n_features)).reshape(2, -1))
    assert not rows.flags.any()


def test_rows_of_this_layout_stay_as_they_are_and_others_are_none() -> None:
    """Only widths that this program once wrote are taken."""
    words = np.ones((2, row_words(6)), np.float32)
    assert of_this_layout(words, 6) is words
    assert of_this_layout(np.ones((2, 10), np.float32), 6) is None
