"""A learner that finds its own coordinates from the first rows it sees, then keeps them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.model.graph import BaseModel
from pipeline.trainer.fallback_learner import FallbackLearner
from pipeline.trainer.learner import Learner, LearnerState, StepResult, Vector
from pipeline.trainer.lesson import Lesson
from pipeline.trainer.preconditioning import moved, raw_first_layer, scale_from
from pipeline.trainer.recipe import Recipe

Features = NDArray[np.float32]

_ROWS_FOR_A_MEAN = 64


class PreconditionedLearner:
    """`inner`, which trains `base`, in coordinates estimated from the first rows; see `Learner`.

    Its vectors are those of the graph. Where the graph has no standardisation, `inner` works on centred features.
    """

    def __init__(self, inner: Learner, base: BaseModel, recipe: Recipe) -> None:
        self._inner = inner
        self._base = base
        self._recipe = recipe
        self._first_layer = raw_first_layer(base) if recipe.calibration_rows else None
        self._mean: NDArray[np.float64] = np.zeros(base.n_features)
        self._shift: Features | None = None
        self._rows = self._rows_used = self._jacobian_rows = 0
        self._feature_sum: NDArray[np.float64] = np.zeros(base.n_features)
        self._jacobian_sum: NDArray[np.float64] = np.zeros(base.n_parameters)

    @property
    def kind(self) -> str:
        """See `Learner`."""
        return self._inner.kind

    @property
    def device(self) -> str:
        """See `Learner`."""
        return self._inner.device

    @property
    def prior(self) -> float:
        """The recipe's prior."""
        return self._recipe.prior

    @property
    def note(self) -> str:
        """Why it does not compute where it was meant to; empty where it does."""
        return self._inner.note if isinstance(self._inner, FallbackLearner) else ""

    @property
    def steps(self) -> int:
        """See `Learner`."""
        return self._inner.steps

    def calibrate(self, features: Features) -> None:
        """Add rows to the estimate until it has enough; the coordinates follow whenever their number has doubled."""
        if self._rows >= self._recipe.calibration_rows:
            return
        squares = self.squared_jacobian(features, self._base.vector())
        if not np.isfinite(squares).all():
            return
        self._jacobian_sum += squares
        self._jacobian_rows += len(features)
        self._feature_sum += features.sum(axis=0, dtype=np.float64)
        self._rows += len(features)
        if self._rows >= min(2 * self._rows_used, self._recipe.calibration_rows):
            self._rows_used = self._rows
            self._move()

    def _move(self) -> None:
        scale = scale_from(self._jacobian_sum / self._jacobian_rows, self._base.parameters, self._recipe.sensitivity)
        mean = self._feature_sum / self._rows if self._centring() else self._mean
        origin = self._centred(self._base.vector().astype(np.float64), mean)
        state = moved(self._inner.state(), origin, scale, lambda vector: self._centred(vector, mean - self._mean))
        self._inner.restore(state)
        self._set_mean(mean)

    def _centring(self) -> bool:
        """Tell whether the features are to be centred on what was seen; if so, start over with the Jacobian.

        A Jacobian that was summed around another mean says nothing about the new coordinates; around no mean it only
        makes the steps too short, which is right for the first few rows.
        """
        if self._first_layer is None or self._rows < _ROWS_FOR_A_MEAN:
            return False
        self._jacobian_sum[:] = 0
        self._jacobian_rows = 0
        return True

    def _set_mean(self, mean: NDArray[np.float64]) -> None:
        self._mean = mean
        self._shift = mean.astype(np.float32) if mean.any() else None

    def _centred(self, vector: NDArray[np.float64], mean: NDArray[np.float64]) -> NDArray[np.float64]:
        return vector if self._first_layer is None else self._first_layer.centred(vector, mean)

    def _inward(self, vector: Vector) -> Vector:
        return vector if self._shift is None else self._centred(vector.astype(float), self._mean).astype(np.float32)

    def _outward(self, vector: Vector) -> Vector:
        return vector if self._shift is None else self._centred(vector.astype(float), -self._mean).astype(np.float32)

    def _shifted(self, features: Features) -> Features:
        return features if self._shift is None else features - self._shift

    def predict(self, features: Features, vector: Vector) -> NDArray[np.float32]:
        """See `Learner`. The graph's own function: nothing has to be centred for it."""
        return self._inner.predict(features, vector)

    def squared_jacobian(self, features: Features, vector: Vector) -> NDArray[np.float64]:
        """See `Learner`."""
        return self._inner.squared_jacobian(self._shifted(features), self._inward(vector))

    def step(self, features: Features, score: NDArray[np.float32]) -> StepResult:
        """See `Learner`."""
        return self._inner.step(self._shifted(features), score)

    def learn(self, lesson: Lesson) -> list[StepResult]:
        """Take the steps of a lesson, as long as `device` is not the processor; see `FallbackLearner`."""
        assert isinstance(self._inner, FallbackLearner)
        return self._inner.learn(lesson if self._shift is None else lesson.centred(self._shift))

    def weights(self) -> Vector:
        """See `Learner`."""
        return self._outward(self._inner.weights())

    def ema(self) -> Vector:
        """See `Learner`."""
        return self._outward(self._inner.ema())

    def reset(self, vector: Vector) -> None:
        """See `Learner`."""
        self._inner.reset(self._inward(vector))

    def state(self) -> LearnerState:
        """See `Learner`."""
        return {
            **self._inner.state(),
            "mean": self._mean.copy(),
            "rows": np.array([self._rows, self._rows_used, self._jacobian_rows], np.float64),
            "feature_sum": self._feature_sum.copy(),
            "jacobian_sum": self._jacobian_sum.copy(),
        }

    def restore(self, state: LearnerState) -> None:
        """See `Learner`."""
        self._inner.restore(state)
        self._set_mean(state["mean"].copy())
        self._rows, self._rows_used, self._jacobian_rows = (int(count) for count in state["rows"])
        self._feature_sum, self._jacobian_sum = state["feature_sum"].copy(), state["jacobian_sum"].copy()
