"""Who has what in the fleet's demo: whole sources a node, and sources that nobody sends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pipeline.corpus.table import Corpus

NODES = 4
_SEED = 0


def dealt(corpus: Corpus) -> tuple[list[Corpus], Corpus]:
    """Return the rows of each node, and those of the sources that judge.

    Every node has as many sources; what is over judges, beside the corpus's own part for that. A node's encodes come in
    an order drawn once: its sources are mixed.
    """
    streamed = corpus.only("stream").sources()
    of_nodes = streamed[: len(streamed) - len(streamed) % NODES]
    nodes = [_mixed(corpus.rows(corpus.mask_of(of_nodes[node::NODES]))) for node in range(NODES)]
    return nodes, corpus.rows(~corpus.mask_of(of_nodes))


def _mixed(corpus: Corpus) -> Corpus:
    """Return the rows with their encodes in another order, each still in one piece."""
    rank = np.random.default_rng(_SEED).permutation(int(corpus.clip.max()) + 1)
    return corpus.rows(np.lexsort((corpus.frame, rank[corpus.clip])))
