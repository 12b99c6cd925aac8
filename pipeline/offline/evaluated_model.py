"""A model under evaluation: what it predicts on a corpus, how long it takes, how large it is."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline.corpus.table import Corpus
from pipeline.model.features import features_of
from pipeline.model.runtime import OnnxModel

if TYPE_CHECKING:
    from pipeline.offline.trained_model import Trained

_WARM_UP, _TIMED = 200, 2000
_ROWS_AT_A_TIME = 65536  # so that a model's inputs never double the memory of a large corpus


@dataclass(frozen=True)
class EvaluatedModel:
    """A model's predictions float32[n] for a corpus of n rows, latency of one row in microseconds, size in bytes."""

    name: str
    predicted: npt.NDArray[np.float32]
    latency_p50: float
    latency_p95: float
    size: int


def run(path: Path, corpus: Corpus) -> EvaluatedModel:
    """Run the model at `path` over `corpus`, on its features by name; raises UnusableModel or CorpusError."""
    model = OnnxModel(path)
    taken = features_of(path, model.inputs)
    external = path.with_name(path.name + ".data")
    size = path.stat().st_size + (external.stat().st_size if external.exists() else 0)
    blocks = (corpus.rows(slice(i, i + _ROWS_AT_A_TIME)) for i in range(0, len(corpus), _ROWS_AT_A_TIME))
    predicted = np.concatenate([model.predict(block.inputs(taken)) for block in blocks])
    return EvaluatedModel(path.stem, predicted, *_latency(model, corpus.rows(slice(1)).inputs(taken)), size)


def out_of_fold(name: str, folds: "Sequence[Trained]", corpus: Corpus) -> EvaluatedModel:
    """Join the folds' predictions, each row from the model that never saw its source.

    Latency and size are those of the first fold's model.
    """
    predicted = np.full(len(corpus), np.nan, np.float32)
    for trained in folds:
        rows = corpus.mask_of(trained.left_out)
        predicted[rows] = trained.runtime().predict(corpus.features[rows])
    first = folds[0]
    return EvaluatedModel(
        name, predicted, *_latency(first.runtime(), corpus.features[:1]), len(first.model.SerializeToString())
    )


def by_clip(models: Sequence[EvaluatedModel], corpus: Corpus, target: str) -> tuple[list[EvaluatedModel], Corpus]:
    """Return models and corpus with one row for each clip whose score is known: the mean prediction of its frames."""
    _, first = np.unique(corpus.clip, return_index=True)
    known = np.isfinite(corpus.target(target)[first])
    pooled = [replace(model, predicted=mean_by_clip(model.predicted, corpus.clip)[known]) for model in models]
    return pooled, corpus.rows(first[known])


def mean_by_clip(values: npt.NDArray[np.float32], clip: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Return the mean of the values [n] of each clip, in the order of the clips' numbers."""
    _, number = np.unique(clip, return_inverse=True)
    means: npt.NDArray[np.float32] = (np.bincount(number, values) / np.bincount(number)).astype(np.float32)
    return means


def _latency(model: OnnxModel, row: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Return the median and the 95th percentile of the time for one row [1, n], in microseconds."""
    taken = np.empty(_WARM_UP + _TIMED)
    for i in range(len(taken)):
        started = time.perf_counter_ns()
        model.predict(row)
        taken[i] = time.perf_counter_ns() - started
    p50, p95 = np.quantile(taken[_WARM_UP:], [0.5, 0.95]) / 1000
    return float(p50), float(p95)
