"""The learner on a device that holds the replayed rows as well: each is sent once, then named by number."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.model.graph import BaseModel
from pipeline.trainer.learner import StepResult
from pipeline.trainer.lesson import Lesson
from pipeline.trainer.recipe import Recipe
from pipeline.trainer.torch_learner import TorchLearner

Batch = tuple[Tensor, Tensor]
"""Features float32[n, n_features] and scores float32[n], on the device."""

STEPS_IN_A_BLOCK = 64
"""For how many steps batches lie ready at a time."""

# More than this is sent from ordinary memory, since page-locked memory is never given back.
_MOST_PINNED_BYTES = 1 << 20


class ResidentRows:
    """Room for `rows` rows of a score and `n_features` features on `device`."""

    def __init__(self, rows: int, n_features: int, device: torch.device) -> None:
        self._device = device
        self._content = torch.zeros(rows, 1 + n_features, device=device)

    def blocks(self, lesson: Lesson) -> Iterator[list[Batch]]:
        """Take up what is new in a lesson; yield the batches of its steps, `STEPS_IN_A_BLOCK` or fewer at a time.

        Two transfers, or three with a mean; nothing waits for the device.
        """
        content = self._sent(lesson.content)
        parts = (lesson.where, lesson.first, lesson.origins, lesson.targets, lesson.further.ravel())
        where, first, origins, targets, further = torch.split(
            self._sent(np.concatenate(parts)), [part.size for part in parts]
        )
        mean = None if lesson.mean is None else self._sent(lesson.mean)
        self._content.index_copy_(0, where, content)
        batches = [_batch(self._content.index_select(0, first), mean)]
        self._content.index_copy_(0, targets, self._content.index_select(0, origins))
        steps, size = lesson.further.shape
        for begin in range(0, steps, STEPS_IN_A_BLOCK):
            end = min(begin + STEPS_IN_A_BLOCK, steps)
            rows = self._content.index_select(0, further[begin * size : end * size])
            batches += [_batch(part, mean) for part in rows.view(end - begin, size, -1).unbind()]
            yield batches
            batches = []
        if batches:
            yield batches

    def _sent(self, array: NDArray[np.float32] | NDArray[np.int64]) -> Tensor:
        """Return `array` on the device; it is on its way when this returns, unless it is large."""
        tensor = torch.from_numpy(array)
        if self._device.type == "cuda" and array.nbytes <= _MOST_PINNED_BYTES:
            tensor = tensor.pin_memory()  # torch keeps the copy until the transfer is over
        return tensor.to(self._device, non_blocking=True)


def _batch(rows: Tensor, mean: Tensor | None) -> Batch:
    return rows[:, 1:] if mean is None else rows[:, 1:] - mean, rows[:, 0]


class DeviceLearner(TorchLearner):
    """A `TorchLearner` with room for `rows` rows beside it."""

    def __init__(self, base: BaseModel, recipe: Recipe, device: str, rows: int) -> None:
        super().__init__(base, recipe, device)
        self._rows = ResidentRows(rows, base.n_features, self._device)

    def learn(self, lesson: Lesson) -> list[StepResult]:
        """Take the steps of a lesson, with one look at the device for each block of them."""
        return [result for block in self._rows.blocks(lesson) for result in self.step_through(block)]
