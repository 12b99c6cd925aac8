"""A learner that does not say what ONNX Runtime says is not let loose on the model."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline import data
from pipeline.model.errors import UnusableModel
from pipeline.model.graph import load_base_model
from pipeline.model.score import scores
from pipeline.trainer.learner import Vector
from pipeline.trainer.learners import new_learner
from pipeline.trainer.parity import check_parity
from pipeline.trainer.recipe import Recipe


def test_learners_pass(shared_models: Path) -> None:
    """Whatever learner is chosen for a real model, it predicts what ONNX Runtime predicts."""
    for path in [*sorted(shared_models.glob("*.onnx")), data.BASE_MODEL]:
        base = load_base_model(path)
        check_parity(base, new_learner(base, Recipe()))


def test_a_learner_that_is_off_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundredth of a point is enough."""
    base = load_base_model(data.BASE_MODEL)
    learner = new_learner(base, Recipe())
    right = learner.predict

    def off(features: NDArray[np.float32], vector: Vector) -> NDArray[np.float32]:
        return right(features, vector) + np.float32(0.01)

    monkeypatch.setattr(learner, "predict", off)
    with pytest.raises(UnusableModel, match=r"base_model\.onnx: the trainer's scores differ .* by up to 0\.01"):
        check_parity(base, learner)


def test_what_onnx_runtime_refuses_is_named() -> None:
    """A file that it cannot load is an unusable model, with its reason."""
    with pytest.raises(UnusableModel, match=r"broken: ONNX Runtime does not run it: .*UnusableModel"):
        scores(b"no model", np.zeros((1, 6), np.float32), "broken")
