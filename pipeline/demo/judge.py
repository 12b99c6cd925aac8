"""How good a model is on sources that were never sent."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pipeline.corpus.table import Corpus
from pipeline.model.accuracy import plcc, rmse, srocc


class Model(Protocol):
    """What can be judged."""

    def predict(self, features: npt.NDArray[np.float32], /) -> npt.NDArray[np.float32]:
        """Return the scores float32[n] of features float32[n, n_features]."""
        ...


@dataclass(frozen=True)
class Figures:
    """Agreement of a model's scores with the true ones."""

    rmse: float
    plcc: float
    srocc: float


class Judge:
    """The rows of a corpus that judge, with their scores of one target."""

    def __init__(self, corpus: Corpus, target: str) -> None:
        self._features = np.ascontiguousarray(corpus.features)
        self._scores = corpus.target(target)

    def figures(self, model: Model) -> Figures:
        """Return how ``model`` does on these rows."""
        predicted = model.predict(self._features)
        return Figures(rmse(predicted, self._scores), plcc(predicted, self._scores), srocc(predicted, self._scores))
