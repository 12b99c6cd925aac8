"""Streams of real frames: whole sources, their clips in random order, and rows of other sources to judge by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import xxhash
from numpy.typing import NDArray

from pipeline.corpus.read import load_corpus
from pipeline.corpus.table import Corpus
from pipeline.model.graph import BaseModel, load_base_model
from pipeline.shm.reservoir import Reservoir
from pipeline.shm.ring import Ring
from pipeline.shm.rows import RowBatch
from pipeline.trainer.online import OnlineTraining
from pipeline.trainer.recipe import Recipe
from pipeline.trainer.trust import NodeTrust

SHARED = Path(__file__).resolve().parents[2] / "shared"
SEEDS = (0, 1, 2)
SYNTHETIC = ("cellauto", "gradnoise", "life", "testsrc2")
"""Generated content, nothing like video: it streams with the rest, and is not judged by."""
JUDGED_ROWS = 1000
EVERY = 1000
_AT_ONCE = 16
Floats = NDArray[np.float32]


@cache
def frames() -> Corpus:
    """Return the measured frames."""
    return load_corpus(SHARED / "data" / "vmaf_frames.parquet")


@cache
def base_model() -> BaseModel:
    """Return the base model that learns on."""
    return load_base_model(SHARED / "models" / "vmaf_tiny_v2.onnx")


def natural_sources() -> list[str]:
    """Return the sources that may be judged by: natural ones and pans over photographs."""
    return sorted(set(map(str, np.unique(frames().source))) - set(SYNTHETIC))


def judged_sources(seed: int) -> list[str]:
    """Return the sources left out with a seed: over the three seeds, each natural one and each pan exactly once."""
    parts = np.array_split(np.random.default_rng(0).permutation(natural_sources()), len(SEEDS))
    return sorted(map(str, parts[seed]))


@dataclass(frozen=True)
class Stream:
    """Rows in the order in which a node would send them, and rows of other sources to judge by."""

    features: Floats
    score: Floats
    group: list[int]
    judge_features: Floats
    judge_score: Floats
    node: list[int] | None = None

    def __len__(self) -> int:
        return len(self.score)

    def blocks(self, size: int) -> Iterator[slice]:
        """Yield consecutive slices of `size` rows, none across a multiple of EVERY."""
        for start in range(0, len(self), EVERY):
            stop = min(start + EVERY, len(self))
            yield from (slice(at, min(at + size, stop)) for at in range(start, stop, size))

    def error(self, predicted: NDArray[np.floating]) -> float:
        """Return the RMSE of predictions for the judged rows."""
        return float(np.sqrt(np.mean((predicted - self.judge_score) ** 2)))


def stream_of(target: str, seed: int) -> Stream:
    """Return the seed's stream: of every source but the third that it judges by."""
    return stream_without(judged_sources(seed), target, seed)


def stream_without(sources: list[str], target: str, seed: int) -> Stream:
    """Return a stream of every other source, judged by these; each clip is a job of its own, as today's nodes send."""
    corpus = frames()
    judged = np.isin(corpus.source, sources)
    rng = np.random.default_rng(seed)
    rank = rng.permutation(int(corpus.clip.max()) + 1)
    order = np.lexsort((corpus.frame, rank[corpus.clip]))
    order = order[~judged[order]]
    judge = rng.permutation(np.flatnonzero(judged))[:JUDGED_ROWS]
    score = corpus.target(target)
    groups = {int(clip): group_of(f"job-{clip}") for clip in np.unique(corpus.clip)}
    return Stream(
        corpus.features[order],
        score[order],
        [groups[int(clip)] for clip in corpus.clip[order]],
        corpus.features[judge],
        score[judge],
    )


def group_of(name: str) -> int:
    """Return the group that ingest makes of a name."""
    return xxhash.xxh3_64_intdigest(name.encode())


class Sidecar:
    """A training with its memory, fed row by row; `sent` counts the rows."""

    def __init__(
        self,
        recipe: Recipe,
        base: BaseModel,
        seed: int,
        *,
        recent: int = 10_000,
        reservoir: int = 10_000,
        holdout: int = 4096,
        trust: NodeTrust | None = None,
    ) -> None:
        n_features = base.n_features
        self.base = base
        self.ring = Ring.private(recent, n_features)
        self.holdout = Reservoir.private(holdout, n_features)
        self.reservoir = Reservoir.private(reservoir, n_features)
        for memory in (self.ring, self.reservoir, self.holdout):
            memory.open_writer()
        self.training = OnlineTraining(base, recipe, self.ring, self.reservoir, self.holdout, seed=seed, trust=trust)
        self.sent = 0

    def learn(self, features: Floats, score: Floats, group: list[int], node: list[int] | None = None) -> None:
        """Send rows, and train on them as they come; each group is a job of its own."""
        rows = RowBatch(len(score), self.base.n_features)
        rows.features[:], rows.score[:], rows.group[:], rows.job[:] = features, score, group, group
        rows.key[:] = np.arange(self.sent, self.sent + len(rows))
        if node is not None:
            rows.node[:] = node
        self.take(rows)

    def take(self, rows: RowBatch) -> None:
        """Send rows as they are, and train on them as they come."""
        start = 0
        while start < len(rows):
            end = min(len(rows), start + _AT_ONCE - self.sent % _AT_ONCE)
            self.ring.extend(rows.between(start, end))
            self.sent += end - start
            if self.sent % _AT_ONCE == 0:
                self.training.advance(_AT_ONCE)
            start = end
        self.training.advance(_AT_ONCE)

    def predict(self, features: Floats) -> Floats:
        """Predict with what would be exported now."""
        return self.training.learner.predict(features, self.training.export_vector())
