"""A model under evaluation: what it predicts on a corpus, how long it takes, how large it is."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import numpy as np
import numpy.typing as npt

from pipeline.corpus.table import FEATURES, Corpus
from pipeline.model.errors import UnusableModel
from pipeline.model.runtime import OnnxModel

if TYPE_CHECKING:
    from pipeline.offline.trained_model import Trained

_WARM_UP, _TIMED = 200, 2000

_six = msgspec.Meta(min_length=len(FEATURES), max_length=len(FEATURES))
_Six = Annotated[list[float], _six]
_SixPositive = Annotated[list[Annotated[float, msgspec.Meta(gt=0)]], _six]


class _Scaling(msgspec.Struct):
    """What a sidecar may say of standardisation that is left to the caller (absent: the graph does it)."""

    feature_mean: _Six = msgspec.field(default_factory=lambda: [0.0] * len(FEATURES))
    feature_std: _SixPositive = msgspec.field(default_factory=lambda: [1.0] * len(FEATURES))


@dataclass(frozen=True)
class EvaluatedModel:
    """A model's predictions float32[n] for a corpus of n rows, latency of one row in microseconds, size in bytes."""

    name: str
    predicted: npt.NDArray[np.float32]
    latency_p50: float
    latency_p95: float
    size: int


def run(path: Path, corpus: Corpus) -> EvaluatedModel:
    """Run the model at `path` over `corpus`; raises UnusableModel.

    Where the `.json` beside it has `feature_mean` and `feature_std`, features are standardised first.
    """
    model = OnnxModel(path)
    if model.n_features != len(FEATURES):
        raise UnusableModel(path.name, f"takes {model.n_features} features; a corpus has {len(FEATURES)}")
    scaling = _scaling(path)
    features = (corpus.features - np.array(scaling.feature_mean)) / np.array(scaling.feature_std)
    external = path.with_name(path.name + ".data")
    size = path.stat().st_size + (external.stat().st_size if external.exists() else 0)
    predicted = model.predict(features.astype(np.float32))
    return EvaluatedModel(path.stem, predicted, *_latency(model, corpus.features[:1]), size)


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


def _latency(model: OnnxModel, row: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Return the median and the 95th percentile of the time for one row [1, 6], in microseconds."""
    taken = np.empty(_WARM_UP + _TIMED)
    for i in range(len(taken)):
        started = time.perf_counter_ns()
        model.predict(row)
        taken[i] = time.perf_counter_ns() - started
    p50, p95 = np.quantile(taken[_WARM_UP:], [0.5, 0.95]) / 1000
    return float(p50), float(p95)


def _scaling(path: Path) -> _Scaling:
    sidecar = path.with_suffix(".json")
    try:
        return msgspec.json.decode(sidecar.read_bytes(), type=_Scaling)
    except FileNotFoundError:
        return _Scaling()
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnusableModel(path.name, f"{sidecar.name} beside it: {error}") from None
