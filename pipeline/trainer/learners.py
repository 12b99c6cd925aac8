"""The choice of a learner."""

from __future__ import annotations

from pipeline.model.graph import BaseModel
from pipeline.trainer.learner import Learner
from pipeline.trainer.mlp_graph import plain_mlp
from pipeline.trainer.mlp_learner import MlpLearner
from pipeline.trainer.recipe import Recipe


def new_learner(base: BaseModel, recipe: Recipe, device: str = "cpu") -> Learner:
    """Return the fast learner for a plain perceptron on the processor, the one on torch for everything else.

    torch is imported only then: it costs more memory than all the rest. Raises UnusableModel for a graph that cannot
    be differentiated.
    """
    mlp = plain_mlp(base)
    if mlp is not None and device == "cpu":
        return MlpLearner(mlp, base.vector(), recipe)
    from pipeline.trainer.torch_learner import TorchLearner

    return TorchLearner(base, recipe, device)
