"""The learner on a device that holds the replayed rows as well."""

from __future__ import annotations

from pipeline.model.graph import BaseModel
from pipeline.trainer.learner import StepResult
from pipeline.trainer.lesson import Lesson
from pipeline.trainer.recipe import Recipe
from pipeline.trainer.resident_rows import ResidentRows
from pipeline.trainer.torch_learner import TorchLearner


class DeviceLearner(TorchLearner):
    """A `TorchLearner` with room for `rows` rows beside it."""

    def __init__(self, base: BaseModel, recipe: Recipe, device: str, rows: int) -> None:
        super().__init__(base, recipe, device)
        self._rows = ResidentRows(rows, base.n_features, self._device)

    def learn(self, lesson: Lesson) -> list[StepResult]:
        """Take the steps of a lesson, with one look at the device for each block of them."""
        return [result for block in self._rows.blocks(lesson) for result in self.step_through(block)]
