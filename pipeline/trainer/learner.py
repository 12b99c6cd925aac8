"""What every learner can do."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]
"""Weights, flat, float32[n_parameters]."""


LearnerState = dict[str, NDArray[np.float64]]
"""Arrays by name, flat. In the coordinates of preconditioning.py: position (live) and ema; first, second (moments of
the optimizer); origin and scale, which are the coordinates. steps: one number."""

STATE = ("origin", "scale", "position", "ema", "first", "second")
"""The vectors of a learner's state: all but the number of steps."""

# Adam's own defaults: Kingma & Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015.
ADAM_SECOND_DECAY = 0.999
ADAM_EPSILON = 1e-8


class StepResult(NamedTuple):
    """What a train step did.

    loss is in squared score points; grad_norm is that before clipping, in the coordinates. Not applied: loss or
    gradient was not finite, and the learner is as it was before.
    """

    loss: float
    grad_norm: float
    applied: bool


class Learner(Protocol):
    """Trains the weights of one base model. Vectors are in the base model's own order and meaning.

    Scores are float32[n], features float32[n, n_features]; neither is kept nor changed.
    """

    @property
    def kind(self) -> str:
        """Name of the class that does the steps."""

    @property
    def device(self) -> str:
        """Where the steps are done, as torch names it; "cpu" is the processor."""

    @property
    def steps(self) -> int:
        """Number of steps applied since the weights were last set: what warm-up and EMA ramp count."""

    def predict(self, features: NDArray[np.float32], vector: Vector) -> NDArray[np.float32]:
        """Return the scores that the model gives with the weights `vector`."""

    def squared_jacobian(self, features: NDArray[np.float32], vector: Vector) -> NDArray[np.float64]:
        """Return, for each weight, the sum over rows of the squared derivative of the score by it."""

    def step(self, features: NDArray[np.float32], score: NDArray[np.float32]) -> StepResult:
        """Train on one batch, or leave everything as it was where that gives anything not finite."""

    def weights(self) -> Vector:
        """Return a copy of the live weights."""

    def ema(self) -> Vector:
        """Return a copy of the exponential moving average of the weights, which is what gets published."""

    def reset(self, vector: Vector) -> None:
        """Start over from `vector`: live weights and EMA equal it, momentum is gone, the warm-up begins again."""

    def state(self) -> LearnerState:
        """Return copies of all that a step depends on."""

    def restore(self, state: LearnerState) -> None:
        """Continue from `state` as if nothing had happened."""
