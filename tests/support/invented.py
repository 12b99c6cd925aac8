"""Real frames as five nodes send them, of which one lies: too low scores, of groups that it invents."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.corpus.read import load_corpus
from pipeline.data import CORPUS

ROWS = 6000
NODES = 5
INVENTED = 120
TOO_LOW = 25
BAD = 1


class Sent(NamedTuple):
    """Rows in the order in which they are sent: features float32[n, 6], score float32[n], node int[n] from 1 on."""

    features: NDArray[np.float32]
    score: NDArray[np.float32]
    node: NDArray[np.int64]
    group: list[str]


def five_nodes() -> Sent:
    """Return the rows; the four others name their groups by content."""
    corpus = load_corpus(CORPUS)
    rng = np.random.default_rng(0)
    clips = rng.permutation(np.unique(corpus.clip))
    rank = np.argsort(clips)[np.searchsorted(np.sort(clips), corpus.clip)]
    order = np.lexsort((corpus.frame, rank))[:ROWS]
    node = corpus.clip[order] % NODES + 1
    lies = node == BAD
    invented = rng.integers(INVENTED, size=len(order))
    group = [
        f"invented {number}" if lie else f"{source} of node {who}"
        for number, lie, source, who in zip(invented, lies, corpus.source[order], node, strict=True)
    ]
    score = np.clip(corpus.target("vmaf")[order] - TOO_LOW * lies, 0, 100).astype(np.float32)
    return Sent(corpus.features[order], score, node, group)
