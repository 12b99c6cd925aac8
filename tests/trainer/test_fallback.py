"""A device that fails costs a warning and some steps, never the training."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.config import load
from pipeline.model.errors import UnusableModel
from pipeline.model.graph import BaseModel
from pipeline.trainer import device as device_choice
from pipeline.trainer.device_learner import DeviceLearner
from pipeline.trainer.fallback_learner import STEPS_AT_RISK, FallbackLearner
from pipeline.trainer.learners import new_learner
from pipeline.trainer.recipe import Recipe
from pipeline.trainer.torch_learner import TorchLearner
from tests.support.graphs import gemm, layers, model, node
from tests.trainer.streams import base_model
from tests.trainer.test_device_learner import DEVICE, STREAM, feed, training
from tests.trainer.test_learners import SGD, batches

OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.\nSee the manual.")
FAILURES = {
    "out of memory": OUT_OF_MEMORY,
    "context": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    "launch": getattr(torch, "AcceleratorError", RuntimeError)("CUDA error: unspecified launch failure"),
    "not built": AssertionError("Torch not compiled with CUDA enabled"),
}


class Failing:
    """In place of a function: does as it does `good` times, then raises `error` each time."""

    def __init__(self, function: Callable[..., Any], error: Exception, good: int = 0) -> None:
        self._function, self._error, self._good = function, error, good
        self.failed = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it, or fail."""
        if self._good <= 0:
            self.failed += 1
            raise self._error
        self._good -= 1
        return self._function(*args, **kwargs)


def graph_fails_on_device(monkeypatch: pytest.MonkeyPatch, error: Exception, good: int = 0) -> Failing:
    """Let a learner's graph fail on the device after `good` evaluations; the operators wrap what they meet."""
    addmm = Failing(torch.addmm, error, good)
    monkeypatch.setattr("pipeline.trainer.torch_operators.torch.addmm", addmm)
    return addmm


@pytest.mark.parametrize("error", FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("where", ["ResidentRows", "TorchGraph", "check_parity"])
def test_a_device_that_fails_at_the_start_is_left_alone(
    where: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the first allocation, the first evaluation or the check against ONNX Runtime: it trains on the processor."""
    place = {
        "ResidentRows": "pipeline.trainer.device_learner.ResidentRows",
        "TorchGraph": "pipeline.trainer.torch_learner.TorchGraph",
        "check_parity": "pipeline.trainer.learners.check_parity",
    }[where]
    failing = Failing(lambda: None, error)
    monkeypatch.setattr(place, failing)
    one = training(DEVICE, base_model())
    assert failing.failed == 1
    assert (one.learner.device, one.learner.kind) == ("cpu", "MlpLearner")
    assert (
        one.learner.note
        == f"the device failed ({type(error).__name__}: {str(error).splitlines()[0]}): training on the CPU"
    )
    feed(one, 160)
    assert one.total_steps > 20
    assert one.steps_undone == 0


def test_scores_that_are_off_on_the_device_alone_are_no_unusable_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that computes something else than ONNX Runtime is not used; the model is not to blame."""

    def off(self: DeviceLearner, features: Any, vector: Any) -> Any:
        return TorchLearner.predict(self, features, vector) + 1

    monkeypatch.setattr(DeviceLearner, "predict", off, raising=False)
    learner = new_learner(base_model(), Recipe(), DEVICE, 100)
    assert learner.device == "cpu"
    assert "scores differ from ONNX Runtime's by up to 1" in learner.note


def test_a_model_that_cannot_be_trained_anywhere_is_unusable() -> None:
    """What the processor refuses too is still refused, with the reason."""
    pool = [
        node("Unsqueeze", ["hidden", "axes"], "u"),
        node("MaxPool", ["u"], "m", kernel_shape=[1]),
        node("Squeeze", ["m", "axes"], "active"),
    ]
    first = gemm("hidden", "features", "w0", "b0", transB=1)
    last = gemm("last", "active", "w1", "b1", output="score", transB=1)
    base = BaseModel(model([first, *pool, last], {**layers(), "axes": np.array([1], np.int64)}), "case")
    with pytest.raises(UnusableModel, match=r"case: node 'm' \(MaxPool\)"):
        new_learner(base, Recipe(), DEVICE, 100)


@pytest.mark.parametrize("error", FAILURES.values(), ids=FAILURES)
def test_a_device_that_fails_later_costs_some_steps(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the midst of a lesson: it goes on on the processor from the last copy, which is no older than is promised."""
    one = training(DEVICE, base_model())
    feed(one, 1600)
    inner = one.learner.chosen._inner
    assert isinstance(inner, FallbackLearner)
    copy, steps = inner._copy, one.learner.steps
    assert copy is not None
    assert steps - copy["steps"][0] <= STEPS_AT_RISK + Recipe().new_rows
    before = one.total_steps, one.learner.predict(STREAM.features[:50], one.export_vector())

    failing = graph_fails_on_device(monkeypatch, error, good=8)
    first = 1600
    while not failing.failed:
        feed(one, 16, first)
        first += 16
    assert failing.failed == 1
    assert (one.learner.device, one.learner.kind) == ("cpu", "MlpLearner")
    assert type(error).__name__ in one.learner.note
    assert copy["steps"][0] <= one.learner.steps <= steps + first - 1600
    assert one.total_steps >= before[0]
    after = one.learner.predict(STREAM.features[:50], one.export_vector())
    assert np.isfinite(after).all()
    assert np.abs(after - before[1]).max() < 10
    feed(one, 320, first)
    assert one.total_steps > before[0] + 40
    assert one.steps_undone == 0


def test_what_an_unusable_graph_was_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The note names what the operator raised, not that the graph could not be evaluated."""
    base = base_model()
    graph_fails_on_device(monkeypatch, OUT_OF_MEMORY)
    with pytest.raises(UnusableModel):
        TorchLearner(base, SGD)
    note = new_learner(base, Recipe(), DEVICE, 100).note
    assert note == (
        "the device failed (OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB.): training on the CPU"
    )


CALLS: dict[str, Callable[[Any], Any]] = {
    "predict": lambda learner: learner.predict(batches(6)[0][0], base_model().vector()),
    "squared_jacobian": lambda learner: learner.squared_jacobian(batches(6)[0][0], base_model().vector()),
    "step": lambda learner: learner.step(*batches(6)[0]).loss,
    "weights": lambda learner: learner.weights(),
    "ema": lambda learner: learner.ema(),
    "state": lambda learner: learner.state()["position"],
    "reset": lambda learner: (learner.reset(2 * base_model().vector()), learner.weights())[1],
    "restore": lambda learner: (learner.restore(TorchLearner(base_model(), SGD).state()), learner.weights())[1],
}


@pytest.mark.parametrize("name", CALLS)
def test_whatever_is_asked_of_a_failing_device_the_processor_answers(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call fails over, and gives what a learner that never was on a device gives."""
    learner = FallbackLearner(
        lambda: DeviceLearner(base_model(), SGD, DEVICE, 10), lambda: TorchLearner(base_model(), SGD)
    )
    expected = CALLS[name](TorchLearner(base_model(), SGD))
    failing = Failing(lambda: None, OUT_OF_MEMORY)
    monkeypatch.setattr(learner._learner, name, failing)
    assert np.array_equal(CALLS[name](learner), expected)
    assert failing.failed == 1
    assert learner.device == "cpu"


def test_a_reset_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that fails after a reset does not bring the weights of before back."""
    learner = FallbackLearner(
        lambda: DeviceLearner(base_model(), SGD, DEVICE, 10), lambda: TorchLearner(base_model(), SGD)
    )
    learner.step(*batches(6)[0])
    learner.state()
    vector = 2 * base_model().vector()
    learner.reset(vector)
    monkeypatch.setattr(learner._learner, "predict", Failing(lambda: None, OUT_OF_MEMORY))
    learner.predict(batches(6)[0][0], vector)
    assert learner.device == "cpu"
    assert np.allclose(learner.weights(), vector, atol=1e-5)


@pytest.mark.parametrize(
    ("cuda", "why"), [(None, "this build of torch has no CUDA"), ("13.0", "there is no CUDA device here")]
)
def test_cuda_that_cannot_be_had_is_said(cuda: str | None, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a CUDA build, or without a device, it trains on the processor and names which of the two it is."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.version, "hip", None)
    settings = load({"VMAFX_SIDECAR_CUDA": "1"})
    assert device_choice.choose_device(settings) == ("cpu", f"VMAFX_SIDECAR_CUDA=1, but {why}: training on the CPU")
    assert device_choice.choose_device(load({})) == ("cpu", "")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device_choice.choose_device(settings) == ("cuda", "")


def test_memory_of_a_device_that_is_gone_cannot_be_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device in error refuses that too, and that is no error."""
    failing = Failing(lambda: None, FAILURES["launch"])
    monkeypatch.setattr(torch.cuda, "empty_cache", failing)
    device_choice.release()
    assert failing.failed == 1
