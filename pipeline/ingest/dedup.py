"""Deduplication: a client that missed an answer sends the same message again.

A sample is known by a 64-bit key of its job and content, which is the same in every process and after every restart.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xxhash
from numpy.typing import NDArray

_hash64 = xxhash.xxh3_64_intdigest


def name_hashes(names: Sequence[str]) -> NDArray[np.uint64]:
    """Return the hash of each name, uint64[n]."""
    return np.fromiter(map(_hash64, map(str.encode, names)), np.uint64, len(names))


class SampleKeys:
    """Hashes what identifies a sample: its job, and its content as stored.

    The content's hash is multilinear over its 32-bit words (Lemire & Kaser, "Strongly universal string hashing is
    fast", 2014), since that hashes all rows of a block in one matrix product.
    """

    def __init__(self, n_words: int) -> None:
        multipliers = [_hash64(index.to_bytes(8, "little")) | 1 for index in range(n_words + 1)]
        self._job, self._words = np.uint64(multipliers[0]), np.array(multipliers[1:], np.uint64)

    def keys(self, content: NDArray[np.float32], jobs: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Return uint64[n] for `content` float32[n, n_words] and the hashes of the jobs, uint64[n]."""
        keys: NDArray[np.uint64] = content.view(np.uint32).astype(np.uint64) @ self._words
        keys += jobs * self._job
        return keys


class Deduplicator:
    """The identities of the `window` newest accepted samples, and of some older ones.

    They lie in two sets in turn, so that to forget is to drop a set, at no cost for each.
    """

    __slots__ = ("_newer", "_older", "_window")

    def __init__(self, window: int, newest: list[int]) -> None:
        """Start from the identities in `newest`."""
        self._window = window
        self._older: set[int] = set()
        self._newer = set(newest)

    def admit(self, keys: list[int]) -> list[bool] | None:
        """Remember `keys`; tell which are new, None if all of them are."""
        known = len(self._newer)
        if known >= self._window:
            self._older, self._newer, known = self._newer, set(), 0
        if self._newer.isdisjoint(keys) and self._older.isdisjoint(keys):
            self._newer.update(keys)
            if len(self._newer) == known + len(keys):
                return None
            self._newer.difference_update(keys)
        return [self._admit(key) for key in keys]

    def _admit(self, key: int) -> bool:
        if key in self._newer or key in self._older:
            return False
        self._newer.add(key)
        return True
