"""Who and what a sample is, as 64-bit hashes that are the same in every process and after every restart."""

from __future__ import annotations

import numpy as np
import xxhash
from numpy.typing import NDArray

_hash64 = xxhash.xxh3_64_intdigest


def name_hashes(names: list[str]) -> NDArray[np.uint64]:
    """Return the hash of each name, uint64[n]."""
    return np.fromiter(map(_hash64, map(str.encode, names)), np.uint64, len(names))


class Identity:
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
