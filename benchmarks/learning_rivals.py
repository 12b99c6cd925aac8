"""Other ways to learn from the same stream.

They learn what the base model leaves over, on standardised features: that is easier for them than the score itself.
Adam in torch goes on from the base model's weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.learning_residual import Residual
from benchmarks.learning_streams import Floats, Sidecar, Stream, base_model
from benchmarks.learning_torch import TorchAdam
from pipeline.trainer.recipe import ADAM_STEP_SIZE, Recipe


class Method(Protocol):
    """Learns rows in turn, and predicts."""

    def learn(self, features: Floats, score: Floats, group: list[int]) -> None:
        """Take the next rows."""

    def predict(self, features: Floats) -> NDArray[np.floating]:
        """Predict scores."""


class BaseAlone:
    """The base model, which learns nothing."""

    def __init__(self) -> None:
        self._residual = Residual()

    def learn(self, features: Floats, score: Floats, group: list[int]) -> None:
        """Learn nothing."""

    def predict(self, features: Floats) -> NDArray[np.floating]:
        """Predict scores."""
        return self._residual.base(features)


class Ridge:
    """Closed-form ridge on quadratic features: exact at every moment."""

    def __init__(self) -> None:
        self._residual = Residual()
        self._moment: NDArray[np.float64] = np.eye(28)
        self._cross: NDArray[np.float64] = np.zeros(28)

    def learn(self, features: Floats, score: Floats, group: list[int]) -> None:
        """Add rows to the normal equations."""
        del group
        x = self._residual.quadratic(features)
        self._moment += x.T @ x
        self._cross += x.T @ (score - self._residual.base(features))

    def predict(self, features: Floats) -> NDArray[np.floating]:
        """Predict scores."""
        correction = self._residual.quadratic(features) @ np.linalg.solve(self._moment, self._cross)
        return self._residual.base(features) + correction


class River:
    """river's aggregated Mondrian forest, the best of its regressors here (docs/learning-results.md).

    As it comes, it learns the score; with `over_base`, what the base model leaves over.
    """

    def __init__(self, seed: int, *, over_base: bool) -> None:
        from river.forest import AMFRegressor

        self._residual = Residual()
        self._share = float(over_base)
        self._model: Any = AMFRegressor(n_estimators=10, seed=seed)

    def learn(self, features: Floats, score: Floats, group: list[int]) -> None:
        """Learn rows one by one."""
        del group
        left = (score - self._share * self._residual.base(features)).tolist()
        for row, value in zip(self._residual.standard(features).tolist(), left, strict=True):
            self._model.learn_one(dict(enumerate(row)), value)

    def predict(self, features: Floats) -> NDArray[np.floating]:
        """Predict scores one by one."""
        rows = self._residual.standard(features).tolist()
        correction: NDArray[np.float64] = np.array([self._model.predict_one(dict(enumerate(row))) for row in rows])
        return self._share * self._residual.base(features) + correction


class Sklearn:
    """scikit-learn's MLPRegressor with partial_fit: the base model's size, Adam, batches of 16."""

    def __init__(self, seed: int) -> None:
        from sklearn.neural_network import MLPRegressor

        self._residual = Residual()
        self._model: Any = MLPRegressor(hidden_layer_sizes=(16, 8), learning_rate_init=3e-3, random_state=seed)

    def learn(self, features: Floats, score: Floats, group: list[int]) -> None:
        """Take one step."""
        del group
        self._model.partial_fit(self._residual.standard(features), (score - self._residual.base(features)) / 10)

    def predict(self, features: Floats) -> NDArray[np.floating]:
        """Predict scores."""
        correction: NDArray[np.float64] = 10 * self._model.predict(self._residual.standard(features))
        return self._residual.base(features) + correction


METHODS: dict[str, Callable[[int], Method]] = {
    "base model": lambda _: BaseAlone(),
    "default recipe": lambda seed: Sidecar(Recipe(), base_model(), seed),
    "adam": lambda seed: Sidecar(Recipe(optimizer="adam", step_size=ADAM_STEP_SIZE), base_model(), seed),
    "adr-0781": lambda seed: Sidecar(Recipe.adr_0781(), base_model(), seed),
    "ridge": lambda _: Ridge(),
    "river": lambda seed: River(seed, over_base=False),
    "river over base": lambda seed: River(seed, over_base=True),
    "scikit-learn": Sklearn,
    "adam in torch": TorchAdam,
}
"""What the tables compare, by name; made with a seed."""


def curve(name: str, stream: Stream, seed: int) -> list[float]:
    """Learn the whole stream once; return the error on the judged rows after every thousand rows, and at the end."""
    learner = METHODS[name](seed)
    errors: list[float] = []
    for block in stream.blocks(16):
        learner.learn(stream.features[block], stream.score[block], stream.group[block])
        if block.stop % 1000 == 0 or block.stop == len(stream):
            errors.append(stream.error(learner.predict(stream.judge_features)))
    return errors
