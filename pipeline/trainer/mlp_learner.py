"""The fast learner: plain multilayer perceptrons in numpy, step by step equal to the one on torch."""

from __future__ import annotations

import math
import struct

import numpy as np
from numpy.typing import NDArray

from pipeline.trainer.learner import ADAM_EPSILON, ADAM_SECOND_DECAY, LearnerState, StepResult, Vector
from pipeline.trainer.mlp import BoundMlp, Mlp
from pipeline.trainer.recipe import Recipe

_COEFFICIENTS = struct.Struct("=20f")  # written in a third of the time that numpy takes


class MlpLearner:
    """Trains `mlp` from the weights `vector` by `recipe`; see `Learner`.

    Overflow is told by the results. That numpy warns of it too is for the process to switch off: that costs a step 4 %.
    """

    kind = "MlpLearner"
    device = "cpu"

    def __init__(self, mlp: Mlp, vector: Vector, recipe: Recipe) -> None:
        self._mlp = mlp
        self._recipe = recipe
        # numpy makes an array of a number at each call; these are some already.
        self._unit = np.array(recipe.residual_unit, np.float32)
        self._minus_unit = -self._unit
        self._scale = np.ones_like(vector)
        self._scale_squared = np.ones_like(vector)
        self._slope = np.zeros_like(vector)
        # What a step of SGD makes new, the weights included, is a linear function of what there was, so it lies in one
        # matrix. All of it is in the weights' own units, scale times the coordinates: no pass to go to them and back.
        self._all = np.zeros((5, vector.size), np.float32)
        self._offset, self._ema, self._first, self._gradient, self._origin = self._all
        if recipe.calibration_rows:
            self._origin[:] = vector
        self._second = np.zeros_like(vector)
        self._update = np.zeros((4, 5), np.float32)
        self._next = np.zeros((4, vector.size), np.float32)
        self._theta: Vector = self._next[3]
        self._kept, self._made = self._all[:3], self._next[:3]
        self._network = BoundMlp(mlp, self._theta, self._slope)
        self.reset(vector)

    @property
    def steps(self) -> int:
        """See `Learner`."""
        return self._steps

    def predict(self, features: NDArray[np.float32], vector: Vector) -> NDArray[np.float32]:
        """See `Learner`."""
        return BoundMlp(self._mlp, vector).forward(features)

    def squared_jacobian(self, features: NDArray[np.float32], vector: Vector) -> NDArray[np.float64]:
        """See `Learner`."""
        return BoundMlp(self._mlp, vector).squared_jacobian(features)

    def step(self, features: NDArray[np.float32], score: NDArray[np.float32]) -> StepResult:
        """See `Learner`."""
        unit = 1 / (self._recipe.residual_unit**2 * len(score))
        loss = self._differentiate(features, score)
        np.multiply(self._slope, self._scale_squared, out=self._gradient)
        norm = unit * math.sqrt(self._slope.dot(self._gradient))
        if not math.isfinite(loss + norm):
            return StepResult(loss, norm, applied=False)
        # A clipped gradient moves the weights by a bounded amount: nothing after this point can overflow.
        factor = unit * min(1.0, self._recipe.max_norm / norm) if norm else unit
        self._steps += 1
        if self._recipe.optimizer == "sgd":
            self._descend(factor)
        else:
            self._descend_by_adam(factor)
        return StepResult(loss, norm, applied=True)

    def _differentiate(self, features: NDArray[np.float32], score: NDArray[np.float32]) -> float:
        """Leave the gradient by the weights of the batch's summed loss; return the mean loss. In squared points."""
        residual = self._network.forward(features) - score
        slope = np.maximum(np.minimum(residual, self._unit), self._minus_unit) if self._recipe.robust else residual
        self._network.backward(slope)
        # Huber's loss is slope · (residual - slope / 2), on either side of the threshold.
        return float(slope.dot(residual) - 0.5 * slope.dot(slope)) / len(score)

    def _descend(self, factor: float) -> None:
        """Take the step of SGD with momentum and of the EMA, and leave the weights, as one product.

        first ← momentum · first + factor · gradient + decay · offset; offset ← offset - size · first;
        ema ← ema + share · (offset - ema); weights ← origin + offset.
        """
        size = self._recipe.step_size_at(self._steps)
        share = 1 - self._recipe.ema_decay_at(self._steps)
        momentum, decay = self._recipe.momentum, self._recipe.weight_decay_at(self._steps)
        kept = 1 - size * decay
        offset = (kept, 0, -size * momentum, -size * factor)
        ema = (share * kept, 1 - share, -share * size * momentum, -share * size * factor)
        _COEFFICIENTS.pack_into(self._update.data, 0, *offset, 0, *ema, 0, decay, 0, momentum, factor, 0, *offset, 1)
        self._update.dot(self._all, out=self._next)
        self._kept[:] = self._made

    def _descend_by_adam(self, factor: float) -> None:
        decays = self._recipe.momentum, ADAM_SECOND_DECAY
        gradient = factor * self._gradient + self._recipe.weight_decay_at(self._steps) * self._offset
        self._first += (1 - decays[0]) * (gradient - self._first)
        self._second *= decays[1]
        self._second += (1 - decays[1]) * gradient * gradient
        deviation = np.sqrt(self._second) / math.sqrt(1 - decays[1] ** self._steps) + ADAM_EPSILON * self._scale
        size = self._recipe.step_size_at(self._steps) / (1 - decays[0] ** self._steps)
        self._offset -= size * self._scale * self._first / deviation
        self._ema += (1 - self._recipe.ema_decay_at(self._steps)) * (self._offset - self._ema)
        self._set_weights()

    def _set_weights(self) -> None:
        np.add(self._origin, self._offset, out=self._theta)

    def weights(self) -> Vector:
        """See `Learner`."""
        return self._theta.copy()

    def ema(self) -> Vector:
        """See `Learner`."""
        return self._origin + self._ema

    def reset(self, vector: Vector) -> None:
        """See `Learner`."""
        self._offset[:] = self._ema[:] = vector - self._origin
        self._first[:] = self._second[:] = 0
        self._steps = 0
        self._set_weights()

    def state(self) -> LearnerState:
        """See `Learner`."""
        scale = self._scale.astype(np.float64)
        return {
            "origin": self._origin.astype(np.float64),
            "scale": scale,
            "position": self._offset / scale,
            "ema": self._ema / scale,
            "first": self._first / scale,
            "second": self._second / scale**2,
            "steps": np.array([self._steps], np.float64),
        }

    def restore(self, state: LearnerState) -> None:
        """See `Learner`."""
        self._origin[:], self._scale[:] = state["origin"], state["scale"]
        scale = self._scale.astype(np.float64)
        self._scale_squared[:] = scale**2
        self._offset[:], self._ema[:] = state["position"] * scale, state["ema"] * scale
        self._first[:], self._second[:] = state["first"] * scale, state["second"] * scale**2
        self._steps = int(state["steps"][0])
        self._set_weights()
