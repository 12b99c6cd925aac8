"""What only a CUDA device can show. `make gpu-check` runs these; without a device each is skipped."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from pipeline.model.default_network import two_layer
from pipeline.model.graph import BaseModel
from pipeline.trainer.device_learner import DeviceLearner
from pipeline.trainer.fallback_learner import FallbackLearner
from pipeline.trainer.learners import new_learner
from pipeline.trainer.parity import check_parity
from pipeline.trainer.recipe import Recipe
from pipeline.trainer.torch_learner import TorchLearner
from tests.support.graphs import tensor
from tests.trainer.streams import base_model
from tests.trainer.test_device_learner import STREAM, feed, learn_alike, lessons, training
from tests.trainer.test_learners import ADAM, SGD, batches
from tests.trainer.test_torch_graph import CASES, Case, built

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here"),
]

BASES = {"shipped": base_model(), "fresh": BaseModel(two_layer(80), "fresh")}
RECIPES = {"sgd": SGD, "adam": ADAM, "adr-0781": Recipe.adr_0781()}


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Let the process have 1 % of the device's memory."""
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.01)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


@pytest.fixture
def no_waiting() -> Iterator[None]:
    """Put back what torch does where something waits for the device."""
    yield
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_each_operator_equals_the_processors(case: Case) -> None:
    """Scores and slopes of each operator are those of the processor."""
    base, features = built(case), tensor(5, 6, seed=4)
    ours, theirs = TorchLearner(base, SGD, "cuda"), TorchLearner(base, SGD)
    assert np.allclose(ours.predict(features, base.vector()), theirs.predict(features, base.vector()), 1e-4, 1e-4)
    squares, expected = (learner.squared_jacobian(features, base.vector()) for learner in (ours, theirs))
    assert np.allclose(squares, expected, rtol=1e-3, atol=1e-3 * float(expected.max()))


@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
def test_scores_are_those_of_onnx_runtime(base: BaseModel) -> None:
    """The check that every start makes passes, to its thousandth of a point."""
    check_parity(base, TorchLearner(base, SGD, "cuda"))


@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_each_step_equals_the_processors(base: BaseModel, recipe: Recipe) -> None:
    """From the same state a step gives the same loss, gradient norm, weights and average."""
    ours, theirs = TorchLearner(base, recipe, "cuda"), TorchLearner(base, recipe)
    for _ in range(4):
        for features, score in batches(base.n_features):
            result, expected = ours.step(features, score), theirs.step(features, score)
            assert result.loss == pytest.approx(expected.loss, rel=1e-4)
            assert result.grad_norm == pytest.approx(expected.grad_norm, rel=1e-3)
            assert np.allclose(ours.weights(), theirs.weights(), rtol=1e-4, atol=1e-4)
            assert np.allclose(ours.ema(), theirs.ema(), rtol=1e-4, atol=1e-4)
            ours.restore(theirs.state())


@pytest.mark.parametrize("base", [base_model(), BaseModel(two_layer(6), "fresh")], ids=["shipped", "fresh"])
def test_training_on_the_device_learns_what_the_processor_learns(base: BaseModel) -> None:
    """Each observation ends at the same model, to a point, from the rows that lie on the device."""
    host, device = training("cpu", base), training("cuda", base)
    learn_alike(host, device)
    assert (device.learner.device, device.learner.note) == ("cuda", "")
    assert device.total_steps == host.total_steps > 500


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize("centred", [False, True], ids=["as it comes", "centred"])
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_no_step_waits_for_the_device(recipe: Recipe, centred: bool) -> None:
    """A lesson's transfers and steps run where torch raises an error for whatever waits."""
    learner = DeviceLearner(base_model(), recipe, "cuda", 2048)
    next_lesson = lessons(recipe)
    learner.learn(next_lesson())
    for _ in range(3):
        lesson = next_lesson()
        lesson = lesson.centred(np.ones(6, np.float32)) if centred else lesson
        torch.cuda.set_sync_debug_mode("error")
        (block,) = learner._rows.blocks(lesson)
        figures = learner._run(block)
        torch.cuda.set_sync_debug_mode("default")
        assert torch.isfinite(figures).all()


@pytest.mark.usefixtures("little_memory")
def test_a_device_without_room_for_the_rows_is_left_alone() -> None:
    """Replayed rows that do not fit: it trains on the processor from the start, and says why."""
    rows = torch.cuda.get_device_properties(0).total_memory // (4 * 7) // 10
    learner = new_learner(base_model(), Recipe(), "cuda", rows)
    assert learner.device == "cpu"
    assert "OutOfMemoryError: CUDA out of memory" in learner.note
    assert learner.step(*batches(6)[0]).applied


def test_running_out_of_memory_later_costs_some_steps() -> None:
    """What does not fit is answered by the processor, which goes on with the weights that were learned."""
    one = training("cuda", base_model())
    feed(one, 1600)
    one.state()
    inner = one.learner.chosen._inner
    assert isinstance(inner, FallbackLearner)
    before = one.export_vector()
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-6)
    try:
        predicted = one.learner.predict(np.tile(STREAM.features[:1000], (2000, 1)), before)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert np.isfinite(predicted).all()
    assert (one.learner.device, one.learner.kind) == ("cpu", "MlpLearner")
    assert "OutOfMemoryError" in one.learner.note
    assert np.allclose(one.export_vector(), before, rtol=1e-4, atol=1e-4)
    steps = one.total_steps
    feed(one, 160, 1600)
    assert one.total_steps > steps
