"""Streams to learn from: real frames of the shipped corpus, through rings and reservoirs in this process's memory."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import xxhash
from numpy.typing import NDArray

from pipeline import data
from pipeline.corpus.read import load_corpus
from pipeline.corpus.table import Corpus
from pipeline.model.graph import BaseModel, load_base_model
from pipeline.shm.reservoir import Reservoir
from pipeline.shm.ring import Ring
from pipeline.trainer.online import OnlineTraining
from pipeline.trainer.recipe import Recipe
from tests.support.rows import append


@cache
def corpus() -> Corpus:
    """Return the shipped corpus."""
    return load_corpus(data.CORPUS)


def base_model() -> BaseModel:
    """Return the shipped base model."""
    return load_base_model(data.BASE_MODEL)


def group_of(name: str) -> int:
    """Return the group that ingest makes of a name."""
    return xxhash.xxh3_64_intdigest(name.encode())


def names(count: int, *, held_out: bool) -> list[str]:
    """Return names of groups that are all held out, or all not."""
    candidates = (f"source-{number}" for number in range(100 * count))
    return [name for name in candidates if (group_of(name) % 8 == 0) == held_out][:count]


def private_ring(n_features: int = 6, capacity: int = 4096) -> Ring:
    """Return an empty ring that this process writes."""
    return Ring.private(capacity, n_features)


def private_reservoir(n_features: int = 6, capacity: int = 4096) -> Reservoir:
    """Return an empty reservoir that this process writes."""
    reservoir = Reservoir.private(capacity, n_features)
    reservoir.open_writer()
    return reservoir


def put(
    ring: Ring, features: NDArray[np.float32], score: NDArray[np.float32], groups: Sequence[str] = ("a", "b", "c", "d")
) -> None:
    """Append rows whose groups take turns."""
    for row, (vector, value) in enumerate(zip(features.tolist(), score.tolist(), strict=True)):
        append(ring, group_of(groups[row % len(groups)]), row, value, vector)


class Stream:
    """A training with the ring and the reservoirs it works on."""

    def __init__(self, recipe: Recipe | None = None, base: BaseModel | None = None, capacity: int = 4096) -> None:
        self.base = base_model() if base is None else base
        n_features = self.base.n_features
        self.ring = private_ring(n_features, capacity)
        self.reservoir, self.holdout = private_reservoir(n_features), private_reservoir(n_features, 512)
        self.recipe = Recipe() if recipe is None else recipe
        self.training = self.new_training()

    def new_training(self) -> OnlineTraining:
        """Return a fresh training on the same memory."""
        return OnlineTraining(self.base, self.recipe, self.ring, self.reservoir, self.holdout, seed=1)

    def feed(self, corpus: Corpus, target: str, rows: int, first: int = 0, groups: Sequence[str] | None = None) -> None:
        """Send rows of the corpus and train on each as it comes; groups are the corpus's sources by default."""
        for row in range(first, first + rows, 16):
            chunk = slice(row, min(row + 16, first + rows))
            sources = list(corpus.source[chunk]) if groups is None else groups
            put(self.ring, corpus.features[chunk], corpus.targets[target][chunk], sources)
            self.training.advance(16)

    def rmse(self, corpus: Corpus, target: str) -> float:
        """Return the error of what would be exported."""
        return rmse_of(self.training, self.training.export_vector(), corpus, target)


def rmse_of(training: OnlineTraining, vector: NDArray[np.float32], corpus: Corpus, target: str) -> float:
    """Return the error of the model with some weights on a corpus."""
    error = training.learner.predict(corpus.features, vector) - corpus.targets[target]
    return float(np.sqrt(np.mean(error**2)))
