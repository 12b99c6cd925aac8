"""The fast learner: plain multilayer perceptrons in numpy, step by step equal to the one on torch."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.trainer.learner import LearnerState, StepResult, Vector
from pipeline.trainer.mlp import BoundMlp, Mlp
from pipeline.trainer.recipe import Recipe

_ADAM_SECOND_DECAY = 0.999
_ADAM_EPSILON = 1e-8


class MlpLearner:
    """Trains `mlp` from the weights `vector` by `recipe`; see `Learner`."""

    def __init__(self, mlp: Mlp, vector: Vector, recipe: Recipe) -> None:
        self._mlp = mlp
        self._recipe = recipe
        self._origin = vector.copy() if recipe.calibration_rows else np.zeros_like(vector)
        self._scale = np.ones_like(vector)
        self._theta = vector.copy()
        self._network = BoundMlp(mlp, self._theta)
        self._position, self._ema, self._first, self._second, self._scratch = np.zeros((5, vector.size), np.float32)
        self.reset(vector)

    @property
    def steps(self) -> int:
        """See `Learner`."""
        return self._steps

    def predict(self, features: NDArray[np.float32], vector: Vector) -> NDArray[np.float32]:
        """See `Learner`."""
        with np.errstate(all="ignore"):
            return BoundMlp(self._mlp, vector).forward(features)

    def squared_jacobian(self, features: NDArray[np.float32], vector: Vector) -> NDArray[np.float64]:
        """See `Learner`."""
        with np.errstate(all="ignore"):
            return BoundMlp(self._mlp, vector).squared_jacobian(features)

    def step(self, features: NDArray[np.float32], score: NDArray[np.float32]) -> StepResult:
        """See `Learner`."""
        with np.errstate(all="ignore"):
            loss, gradient = self._loss_gradient(features, score)
            norm = math.sqrt(gradient @ gradient)
            if not math.isfinite(loss + norm):
                return StepResult(loss, norm, applied=False)
            # A clipped gradient moves the weights by a bounded amount: nothing after this point can overflow.
            if norm > self._recipe.max_norm:
                gradient *= self._recipe.max_norm / norm
            self._steps += 1
            decay = self._recipe.weight_decay_at(self._steps)
            gradient += np.multiply(self._position, decay, out=self._scratch)
            self._descend(gradient)
            self._average()
        return StepResult(loss, norm, applied=True)

    def _loss_gradient(self, features: NDArray[np.float32], score: NDArray[np.float32]) -> tuple[float, Vector]:
        """Return the loss in squared points and its gradient in the coordinates, where it is per squared unit."""
        unit = self._recipe.residual_unit
        residual = self._network.forward(features) - score
        residual *= 1 / unit
        slope = np.maximum(np.minimum(residual, 1), -1) if self._recipe.robust else residual
        # Huber's loss is slope · (residual - slope / 2), on either side of the threshold.
        loss = float(slope @ (residual - 0.5 * slope)) / len(score) * unit * unit
        gradient = self._network.backward(slope * np.float32(1 / (unit * len(score))))
        gradient *= self._scale
        return loss, gradient

    def _descend(self, gradient: Vector) -> None:
        step_size = self._recipe.step_size_at(self._steps)
        momentum = self._recipe.momentum
        if self._recipe.optimizer == "sgd":
            self._first *= momentum
            self._first += gradient
            self._position -= np.multiply(self._first, step_size, out=self._scratch)
        else:
            self._first += (1 - momentum) * (gradient - self._first)
            self._second *= _ADAM_SECOND_DECAY
            self._second += (1 - _ADAM_SECOND_DECAY) * gradient * gradient
            deviation = np.sqrt(self._second) / math.sqrt(1 - _ADAM_SECOND_DECAY**self._steps) + _ADAM_EPSILON
            self._position -= step_size / (1 - momentum**self._steps) * self._first / deviation
        self._place(self._position, self._theta)

    def _average(self) -> None:
        share = 1 - self._recipe.ema_decay_at(self._steps)
        np.subtract(self._position, self._ema, out=self._scratch)
        self._scratch *= share
        self._ema += self._scratch

    def _place(self, position: Vector, out: Vector) -> Vector:
        """Write the weights at `position` of the coordinates to `out`."""
        np.multiply(position, self._scale, out=out)
        out += self._origin
        return out

    def weights(self) -> Vector:
        """See `Learner`."""
        return self._theta.copy()

    def ema(self) -> Vector:
        """See `Learner`."""
        return self._place(self._ema, np.empty_like(self._ema))

    def reset(self, vector: Vector) -> None:
        """See `Learner`."""
        self._position[:] = (vector - self._origin) / self._scale
        self._ema[:] = self._position
        self._first[:] = self._second[:] = 0
        self._steps = 0
        self._place(self._position, self._theta)

    def state(self) -> LearnerState:
        """See `Learner`."""
        state = {name: getattr(self, "_" + name).astype(np.float64) for name in _STATE}
        return {**state, "steps": np.array([self._steps], np.float64)}

    def restore(self, state: LearnerState) -> None:
        """See `Learner`."""
        for name in _STATE:
            getattr(self, "_" + name)[:] = state[name]
        self._steps = int(state["steps"][0])
        self._place(self._position, self._theta)


_STATE = ("origin", "scale", "position", "ema", "first", "second")
