"""The contract that every learner keeps."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.model.default_network import two_layer
from pipeline.model.graph import BaseModel
from pipeline.trainer.learner import Learner
from pipeline.trainer.mlp_graph import plain_mlp
from pipeline.trainer.mlp_learner import MlpLearner
from pipeline.trainer.preconditioned_learner import PreconditionedLearner
from pipeline.trainer.recipe import Recipe
from pipeline.trainer.side_by_side import SideBySide
from pipeline.trainer.torch_learner import TorchLearner
from tests.trainer.streams import base_model, corpus

Make = Callable[[BaseModel, Recipe], Learner]
Batch = tuple[NDArray[np.float32], NDArray[np.float32]]

SGD = Recipe()
ADAM = Recipe(optimizer="adam", step_size=0.01)


def mlp(base: BaseModel, recipe: Recipe) -> Learner:
    """Make the fast learner."""
    shape = plain_mlp(base)
    assert shape is not None
    return MlpLearner(shape, base.vector(), recipe)


def calibrated(base: BaseModel, recipe: Recipe) -> Learner:
    """Make the learner that is used in production, with its coordinates found."""
    learner = PreconditionedLearner(mlp(base, recipe), base, recipe)
    for batch in range(40):
        learner.calibrate(batches(base.n_features)[batch % 8][0])
    return learner


def side_by_side(base: BaseModel, recipe: Recipe) -> Learner:
    """Make two of these with different priors."""
    return SideBySide(
        [PreconditionedLearner(mlp(base, each), base, each) for each in (recipe, replace(recipe, prior=0))]
    )


def batches(n_features: int, count: int = 8) -> list[Batch]:
    """Return batches of real frames; further features repeat the six."""
    rows = corpus().only("stream")
    chosen = np.random.default_rng(3).integers(0, len(rows), (count, 32))
    features = np.tile(rows.features, (1, n_features // 6 + 1))[:, :n_features]
    return [(features[index], rows.targets["vmaf_phone"][index]) for index in chosen]


@pytest.fixture(params=[mlp, TorchLearner, calibrated, side_by_side])
def make(request: pytest.FixtureRequest) -> Make:
    """Give each kind of learner."""
    chosen: Make = request.param
    return chosen


@pytest.fixture(params=[SGD, ADAM, Recipe.adr_0781()], ids=["sgd", "adam", "adr-0781"])
def recipe(request: pytest.FixtureRequest) -> Recipe:
    """Give each method."""
    chosen: Recipe = request.param
    return chosen


def test_learns(make: Make, recipe: Recipe) -> None:
    """Steps on a shifted target lower the error of the live and of the averaged weights."""
    base = base_model()
    step_size = 1e-3 if make is not calibrated or recipe.ema_ramp is False else recipe.step_size
    learner = make(base, replace(recipe, step_size=step_size, ema_ramp=True))
    features, score = batches(6)[0]

    def error(vector: NDArray[np.float32]) -> float:
        return float(np.sqrt(np.mean((learner.predict(features, vector) - score) ** 2)))

    for _ in range(400):
        assert learner.step(features, score).applied
    assert error(learner.weights()) < 0.5 * error(base.vector())
    assert error(learner.ema()) < 0.5 * error(base.vector())


def test_saves_and_restores_identically(make: Make, recipe: Recipe) -> None:
    """A learner restored in the middle goes on bit by bit as the one that was not interrupted."""
    base = base_model()
    one, other = make(base, recipe), make(base, recipe)
    for features, score in batches(6)[:4]:
        one.step(features, score)
    other.restore(one.state())
    for features, score in batches(6)[4:]:
        assert one.step(features, score) == other.step(features, score)
    assert np.array_equal(one.weights(), other.weights())
    assert np.array_equal(one.ema(), other.ema())
    assert one.steps == other.steps == 8


@pytest.mark.parametrize("bad", [np.nan, np.inf, 3e38])
def test_undoes_a_step_that_is_not_finite(make: Make, recipe: Recipe, bad: float) -> None:
    """A batch that makes loss or gradient non-finite changes nothing at all, and says so."""
    learner = make(base_model(), recipe)
    features, score = batches(6)[0]
    learner.step(features, score)
    before = learner.state()
    poisoned = features.copy()
    poisoned[5, 2] = bad
    assert not learner.step(poisoned, score).applied
    after = learner.state()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_never_moves_further_than_the_clip_allows(make: Make) -> None:
    """An outlier's gradient is shortened: the first step's length in the coordinates is at most the step size."""
    recipe = replace(SGD, warmup_steps=0)
    learner = make(base_model(), recipe)
    features, score = batches(6)[0]
    before = learner.state()["position"]
    learner.step(features * 1000, score)
    assert np.linalg.norm(learner.state()["position"] - before) <= 1.001 * recipe.step_size * recipe.max_norm


def test_reset_starts_over(make: Make) -> None:
    """After a reset, live and averaged weights are the given ones and nothing of the past is left."""
    base = base_model()
    learner = make(base, SGD)
    for features, score in batches(6):
        learner.step(features, score)
    learner.reset(base.vector())
    assert np.allclose(learner.weights(), base.vector(), atol=1e-5)
    assert np.allclose(learner.ema(), base.vector(), atol=1e-5)
    assert learner.steps == 0
    assert not learner.state()["first"].any()


def test_predicts_with_any_weights(make: Make) -> None:
    """Prediction takes the weights it is given, not the live ones."""
    base = base_model()
    learner = make(base, SGD)
    features, score = batches(6)[0]
    before = learner.predict(features, base.vector())
    for _ in range(20):
        learner.step(features, score)
    assert np.array_equal(learner.predict(features, base.vector()), before)
    assert not np.allclose(learner.predict(features, learner.weights()), before)


@pytest.mark.filterwarnings("error")
def test_takes_arrays_that_are_read_only(make: Make) -> None:
    """Rows and weights that may not be written to, such as views of a message, do, without a warning."""
    base = base_model()
    learner = make(base, SGD)
    features, score = batches(6)[0]
    vector = base.vector()
    for array in (features, score, vector):
        array.flags.writeable = False
    assert learner.step(features, score).applied
    assert np.isfinite(learner.predict(features, vector)).all()
    assert np.isfinite(learner.squared_jacobian(features, vector)).all()


SCORE_ERROR = 1e-4
"""Score points by which two float32 computations of a score near 100, a sum of dozens of products, may differ: the
numbers next to 100 are 7.6e-6 away, and each sum is rounded."""

GRADIENT_ERROR = 1e-4
"""The same for a gradient, relative to its length: residuals of a point or so, summed over rows that cancel in part."""


def equal_step_by_step(base: BaseModel, recipe: Recipe) -> None:
    """Compare the fast learner with the one on torch: each of 64 steps from the same state.

    Adam divides a gradient by its size: where it is nothing but rounding, so is the step. There the moments are
    compared, which are all that a step is made of; how it is made of them is in test_adam.py.
    """
    fast, reference = mlp(base, recipe), TorchLearner(base, recipe)
    for _ in range(8):
        for features, score in batches(base.n_features):
            ours, theirs = fast.step(features, score), reference.step(features, score)
            assert ours.loss == pytest.approx(theirs.loss, abs=SCORE_ERROR * np.sqrt(2 * theirs.loss))
            assert ours.grad_norm == pytest.approx(theirs.grad_norm, rel=GRADIENT_ERROR)
            mine, other = fast.state(), reference.state()
            for moment in ("first", "second"):
                assert distance(mine[moment], other[moment]) <= GRADIENT_ERROR * np.linalg.norm(other[moment])
            if recipe.optimizer == "sgd":
                size = np.abs(reference.weights()).max()
                assert np.abs(fast.weights() - reference.weights()).max() <= 1e-6 * size
                assert np.abs(fast.ema() - reference.ema()).max() <= 1e-6 * size
            fast.restore(other)


def distance(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return the length of the difference."""
    return float(np.linalg.norm(one - other))


@pytest.mark.parametrize("base", [base_model(), BaseModel(two_layer(80), "fresh")], ids=["shipped", "fresh"])
def test_fast_learner_equals_torch(base: BaseModel, recipe: Recipe) -> None:
    """The fast path is the reference, step by step, as far as float32 can tell."""
    equal_step_by_step(base, recipe)
