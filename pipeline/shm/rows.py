"""Samples as rows of shared memory.

A row is `sequence i64, arrival f64, group u64, key u64, node u64, job u64, tenant u64, codec u64, height u32, checksum
u32, score f32, features f32[n], flags u32`, padded to eight bytes. The checksum is the CRC-32 of the row with the
checksum field at zero.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

_WIDE = ("sequence", "arrival", "group", "key", "node", "job", "tenant", "codec")
"""The fields of eight bytes, in their order."""
_HEIGHT_WORD = 2 * len(_WIDE)
_CHECKSUM_WORD = _HEIGHT_WORD + 1
_CHECKSUM_OFFSET = 4 * _CHECKSUM_WORD
_SCORE_WORD = _CHECKSUM_WORD + 1
_WIDE_BEFORE = (5, 4)
"""How many of these fields rows had in earlier layouts, which had no height: up to the node, and up to the key."""
_U32 = struct.Struct("<I")

HELD_OUT = 1
"""The flag of a row whose group is held out where it came from."""


def row_words(n_features: int) -> int:
    """Return the length of a row in 4-byte words; even, so that its 8-byte fields are aligned."""
    return _even(_SCORE_WORD + 1 + n_features + 1)


def _even(words: int) -> int:
    return words + words % 2


class RowBatch:
    """A reusable block of `n_rows` rows, with typed views of its columns.

    features float32[n_rows, n_features], score float32[n_rows] (NaN: removed), sequence int64[n_rows], arrival
    float64[n_rows] (Unix seconds), group, key, node, job, tenant and codec uint64[n_rows], hashes of names (0: not
    named; jobs of rows saved by an older release are not), height uint32[n_rows] (lines; 0: not known), flags
    uint32[n_rows] (`HELD_OUT`); content
    float32[n_rows, 1 + n_features] is the score and the features; words float32[n_rows, row_words] is the rows as they
    lie in shared memory.
    """

    __slots__ = (
        "arrival",
        "codec",
        "content",
        "features",
        "flags",
        "group",
        "height",
        "job",
        "key",
        "node",
        "score",
        "sequence",
        "tenant",
        "words",
    )

    def __init__(self, n_rows: int, n_features: int) -> None:
        self._set_columns(np.zeros((n_rows, row_words(n_features)), dtype=np.float32), n_features)

    def _set_columns(self, words: NDArray[np.float32], n_features: int) -> None:
        self.words = words
        wide = words.view(np.uint64)
        self.sequence: NDArray[np.int64] = words.view(np.int64)[:, 0]
        self.arrival: NDArray[np.float64] = words.view(np.float64)[:, 1]
        self.group: NDArray[np.uint64] = wide[:, 2]
        self.key: NDArray[np.uint64] = wide[:, 3]
        self.node: NDArray[np.uint64] = wide[:, 4]
        self.job: NDArray[np.uint64] = wide[:, 5]
        self.tenant: NDArray[np.uint64] = wide[:, 6]
        self.codec: NDArray[np.uint64] = wide[:, 7]
        self.height: NDArray[np.uint32] = words.view(np.uint32)[:, _HEIGHT_WORD]
        self.score = words[:, _SCORE_WORD]
        self.content = words[:, _SCORE_WORD : _SCORE_WORD + 1 + n_features]
        self.features = self.content[:, 1:]
        self.flags: NDArray[np.uint32] = words.view(np.uint32)[:, _SCORE_WORD + 1 + n_features]

    @classmethod
    def over(cls, words: NDArray[np.float32], n_features: int) -> RowBatch:
        """Return a batch whose columns are views of `words` float32[n_rows, row_words]; nothing is copied."""
        batch = cls.__new__(cls)
        batch._set_columns(words, n_features)  # noqa: SLF001  its own class
        return batch

    def __len__(self) -> int:
        return len(self.words)

    @property
    def n_features(self) -> int:
        """Length of a feature vector."""
        return int(self.features.shape[1])

    def first(self, n_rows: int) -> RowBatch:
        """Return the first `n_rows` rows; views, not copies."""
        return RowBatch.over(self.words[:n_rows], self.n_features)

    def between(self, start: int, end: int) -> RowBatch:
        """Return the rows from `start` to before `end`; views, not copies."""
        return RowBatch.over(self.words[start:end], self.n_features)

    def select(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> RowBatch:
        """Return a copy of the rows that a mask or an index array chooses."""
        return RowBatch.over(self.words[chosen], self.n_features)


def of_this_layout(words: NDArray[np.float32], n_features: int) -> NDArray[np.float32] | None:
    """Return saved rows float32[n, words of a row] as rows of this layout; None where they are of no known one.

    What an earlier layout did not hold is zero: not named.
    """
    width = words.shape[1]
    if width == row_words(n_features):
        return words
    rows = np.zeros((len(words), row_words(n_features)), np.float32)
    if width == _even(_SCORE_WORD + 1 + n_features):  # without flags
        rows[:, :width] = words
        _seal_all(rows)
        return rows
    for wide in (2 * fields for fields in _WIDE_BEFORE):
        if width == _even(wide + 2 + n_features):
            rows[:, :wide] = words[:, :wide]
            rows[:, _SCORE_WORD : _SCORE_WORD + 1 + n_features] = words[:, wide + 1 : wide + 2 + n_features]
            _seal_all(rows)
            return rows
    return None


def _seal_all(rows: NDArray[np.float32]) -> None:
    for row in rows:
        seal(memoryview(row).cast("B"))


def mark_removed(rows: RowBatch, chosen: NDArray[np.bool_]) -> None:
    """Remove rows that keep their place: sequence, arrival and key stay, so that a resend is known."""
    rows.features[chosen] = 0
    rows.score[chosen] = np.nan
    for column in (rows.group, rows.node, rows.job, rows.tenant, rows.codec, rows.height, rows.flags):
        column[chosen] = 0
    for place in np.flatnonzero(chosen).tolist():
        seal(memoryview(rows.words[place]).cast("B"))


def seal(row: memoryview) -> None:
    """Write a row's checksum into it."""
    _U32.pack_into(row, _CHECKSUM_OFFSET, 0)
    _U32.pack_into(row, _CHECKSUM_OFFSET, zlib.crc32(row))


def sealed(words: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Tell for each of the rows float32[n, row_words] whether its checksum is right."""
    stored = words.view(np.uint32)[:, _CHECKSUM_WORD]
    blank = words.copy()
    blank.view(np.uint32)[:, _CHECKSUM_WORD] = 0
    return np.equal(stored, np.fromiter((zlib.crc32(row) for row in blank), np.uint32, len(blank)))
