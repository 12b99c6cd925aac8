"""Adam is the published one: Kingma & Ba, "Adam: A Method for Stochastic Optimization", algorithm 1."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.model.default_network import two_layer
from pipeline.model.graph import BaseModel, parse_base_model
from pipeline.trainer.learner import Learner
from pipeline.trainer.recipe import Recipe
from pipeline.trainer.torch_learner import TorchLearner
from tests.trainer.test_learners import mlp

Weights = NDArray[np.float64]
STEP_SIZE = 0.01
PLAIN = Recipe(
    optimizer="adam",
    step_size=STEP_SIZE,
    weight_decay=0.0,
    prior=0.0,
    max_norm=1e9,
    warmup_steps=0,
    residual_unit=1.0,
    robust=False,
    calibration_rows=0,
)
"""Nothing but Adam: the loss is half the squared error, and no gradient is shortened."""

START = np.array([1.0, 2.0, 1.5, 50.0])
FEATURE = 1e-8
"""So small that the gradient by the first weight is of epsilon's size."""
TARGETS = 53.0 + np.array([3.0, -2.0, 5.0, 1.0, -4.0, 2.5, 8.0, -1.0, 0.5, -6.0])


def gradient(weights: Weights, target: float) -> Weights:
    """Return the gradient of (score - target)² / 2 where score = c · (a · FEATURE + b) + d, by a, b, c and d."""
    a, b, c, d = weights
    hidden = a * FEATURE + b
    residual = c * hidden + d - target
    return np.array([residual * c * FEATURE, residual * c, residual * hidden, residual])


def published(scale: Weights) -> list[Weights]:
    """Return the weights after each step, where the coordinates that Adam works in are the weights over `scale`."""
    position, first, second = START / scale, np.zeros(4), np.zeros(4)
    steps = []
    for step, target in enumerate(TARGETS, 1):
        slope = scale * gradient(scale * position, target)
        first = 0.9 * first + 0.1 * slope
        second = 0.999 * second + 0.001 * slope**2
        position = position - STEP_SIZE * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
        steps.append(scale * position)
    return steps


def network() -> BaseModel:
    """Return the network whose gradient is above; its one hidden unit is active all along."""
    made = BaseModel(two_layer(1, hidden=1), "one of each").with_weights(START)
    return parse_base_model(made, "one of each")


@pytest.mark.parametrize("scale", [[1.0, 1.0, 1.0, 1.0], [2.0, 0.5, 0.25, 3.0]])
@pytest.mark.parametrize("make", [mlp, TorchLearner])
def test_each_step_is_the_published_one(make: Callable[[BaseModel, Recipe], Learner], scale: list[float]) -> None:
    """To a thousandth of the step size, also for a gradient of epsilon's size, and in other coordinates."""
    learner = make(network(), PLAIN)
    chosen = np.array(scale)
    learner.restore({**learner.state(), "scale": chosen, "position": START / chosen, "ema": START / chosen})
    for target, expected in zip(TARGETS, published(chosen), strict=True):
        assert learner.step(np.full((1, 1), FEATURE, np.float32), np.array([target], np.float32)).applied
        assert np.abs(learner.weights() - expected).max() < 1e-3 * STEP_SIZE
