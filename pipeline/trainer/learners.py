"""The choice of a learner."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline.model.errors import UnusableModel
from pipeline.model.graph import BaseModel
from pipeline.runtime.extras import lacking
from pipeline.trainer.device import release
from pipeline.trainer.fallback_learner import FallbackLearner
from pipeline.trainer.learner import Learner
from pipeline.trainer.mlp_graph import plain_mlp
from pipeline.trainer.mlp_learner import MlpLearner
from pipeline.trainer.parity import check_parity
from pipeline.trainer.preconditioned_learner import PreconditionedLearner
from pipeline.trainer.recipe import Recipe
from pipeline.trainer.side_by_side import SideBySide

if TYPE_CHECKING:
    from pipeline.trainer.device_learner import DeviceLearner


def new_learner(base: BaseModel, recipe: Recipe, device: str = "cpu", rows: int = 0) -> SideBySide:
    """Return learners for `base` that find their own coordinates; raises UnusableModel for a graph none can train.

    On the processor there is one for each prior of the recipe. On another device there is one alone, with room there
    for `rows` rows.
    """
    if device == "cpu":
        recipes = [replace(recipe, prior=prior) for prior in recipe.priors]
        return SideBySide([PreconditionedLearner(_on_processor(base, each), base, each) for each in recipes])

    def after_failure() -> Learner:
        release()
        return _on_processor(base, recipe)

    inner = FallbackLearner(lambda: _on_device(base, recipe, device, rows), after_failure)
    return SideBySide([PreconditionedLearner(inner, base, recipe)])


def _on_processor(base: BaseModel, recipe: Recipe) -> Learner:
    """Return the fast learner for a plain perceptron, the one on torch for everything else.

    torch is imported only then: it is optional, and costs more memory than all the rest.
    """
    mlp = plain_mlp(base)
    if mlp is not None:
        return MlpLearner(mlp, base.vector(), recipe)
    if reason := lacking("torch", "training any graph but a plain perceptron"):
        raise UnusableModel(base.name, reason)
    from pipeline.trainer.torch_learner import TorchLearner

    return TorchLearner(base, recipe)


def _on_device(base: BaseModel, recipe: Recipe, device: str, rows: int) -> DeviceLearner:
    from pipeline.trainer.device_learner import DeviceLearner

    learner = DeviceLearner(base, recipe, device, rows)
    check_parity(base, learner)
    return learner
