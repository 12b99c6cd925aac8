"""Four nodes with sources of their own: their rows in the order in which each sends them, and rows to judge by."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from benchmarks.learning_streams import JUDGED_ROWS, Floats, base_model, frames, group_of, judged_sources
from pipeline.shm.rows import RowBatch

NODES = 4
ROWS = 12_000
"""Rows that each node sends: as many as the one with the fewest has, in whole thousands."""


@dataclass(frozen=True)
class Dealt:
    """The rows of each node, each clip a job and a group, and rows of sources that none of them has."""

    nodes: tuple[RowBatch, ...]
    judge_features: Floats
    judge_score: Floats

    def error(self, predicted: Floats) -> float:
        """Return the RMSE of predictions for the judged rows."""
        return float(np.sqrt(np.mean((predicted - self.judge_score) ** 2)))

    def with_nodes(self, nodes: tuple[RowBatch, ...]) -> Dealt:
        """Return the same with other rows."""
        return replace(self, nodes=nodes)

    def of(self, *nodes: int) -> Dealt:
        """Return some of the nodes."""
        return self.with_nodes(tuple(self.nodes[node] for node in nodes))

    def joined(self, *nodes: RowBatch) -> Dealt:
        """Return the nodes with others beside them."""
        return self.with_nodes((*self.nodes, *nodes))


def dealt(target: str, seed: int, order: int = 0) -> Dealt:
    """Deal all sources but those that the seed judges by to the nodes, at random, those with most rows first.

    `order`: which of the orders in which the clips may come.
    """
    corpus, judged = frames(), judged_sources(seed)
    rng = np.random.default_rng(seed)
    sources = _sources(judged, rng)
    judge = rng.permutation(np.flatnonzero(np.isin(corpus.source, judged)))[:JUDGED_ROWS]
    rank = (np.random.default_rng((seed, order)) if order else rng).permutation(int(corpus.clip.max()) + 1)
    nodes = tuple(_rows(f"node-{node}", each, target, rank) for node, each in enumerate(sources))
    return Dealt(nodes, corpus.features[judge], corpus.target(target)[judge])


def sources_of_nodes(seed: int) -> list[list[str]]:
    """Return the sources of each node."""
    return _sources(judged_sources(seed), np.random.default_rng(seed))


def _sources(judged: list[str], rng: np.random.Generator) -> list[list[str]]:
    corpus = frames()
    names, counts = np.unique(corpus.source[~np.isin(corpus.source, judged)], return_counts=True)
    order = rng.permutation(len(names))
    order = order[np.argsort(-counts[order], kind="stable")]
    return [sorted(map(str, names[order[node::NODES]])) for node in range(NODES)]


def _rows(node: str, sources: list[str], target: str, rank: np.ndarray[tuple[int], np.dtype[np.int64]]) -> RowBatch:
    corpus = frames()
    order = np.lexsort((corpus.frame, rank[corpus.clip]))
    order = order[np.isin(corpus.source[order], sources)][:ROWS]
    groups = {int(clip): group_of(f"job-{clip}") for clip in np.unique(corpus.clip[order])}
    rows = RowBatch(len(order), base_model().n_features)
    rows.features[:], rows.score[:] = corpus.features[order], corpus.target(target)[order]
    rows.group[:] = rows.job[:] = [groups[int(clip)] for clip in corpus.clip[order]]
    rows.node[:] = group_of(node)
    rows.key[:] = [group_of(f"{node}-{place}") for place in range(len(order))]
    return rows
