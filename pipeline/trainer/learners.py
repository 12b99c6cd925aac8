"""The choice of a learner."""

from __future__ import annotations

from pipeline.model.graph import BaseModel
from pipeline.trainer.calibrated_learner import CalibratedLearner
from pipeline.trainer.learner import Learner
from pipeline.trainer.mlp_graph import plain_mlp
from pipeline.trainer.mlp_learner import MlpLearner
from pipeline.trainer.recipe import Recipe


def new_learner(base: BaseModel, recipe: Recipe, device: str = "cpu") -> CalibratedLearner:
    """Return a learner for `base` that finds its own coordinates; raises UnusableModel for a graph it cannot train."""
    return CalibratedLearner(_inner_learner(base, recipe, device), base, recipe)


def _inner_learner(base: BaseModel, recipe: Recipe, device: str) -> Learner:
    """Return the fast learner for a plain perceptron on the processor, the one on torch for everything else.

    torch is imported only then: it costs more memory than all the rest.
    """
    mlp = plain_mlp(base)
    if mlp is not None and device == "cpu":
        return MlpLearner(mlp, base.vector(), recipe)
    from pipeline.trainer.torch_learner import TorchLearner

    return TorchLearner(base, recipe, device)
