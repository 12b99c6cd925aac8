"""Learners side by side on the same batches, which differ in their prior: held-out rows choose the one that counts.

How strong a prior should be differs by stream, target and time. A step takes some tens of microseconds, so more than
one is tried.

Where no rows are, each learner goes on in its own way, and their mean is nearer to the truth than any of them. So after
the first 1,000 steps, in which the strong prior alone holds back what few rows say, each is at every fourth step also
trained on rows between those of the batch and beyond, towards the mean of what all predict there (codistillation: Anil
et al., "Large scale distributed neural network training through online distillation", ICLR 2018).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.model.accuracy import MIN_GROUPS
from pipeline.trainer.learner import LearnerState, StepResult, Vector
from pipeline.trainer.lesson import Lesson
from pipeline.trainer.preconditioned_learner import PreconditionedLearner

OWN = ("position", "ema", "first", "second", "steps")
"""What differs between the learners; coordinates and their estimate are the same for all."""

_BETTER_BY = 0.02
_UNIT = 3.0
_AGREE_FROM, _AGREE_EVERY = 1000, 4
_WAY = np.linspace(-1, 2, 16, dtype=np.float32)[:, None]
"""How far the rows to agree on are on the way from one row to another: also before the one, and beyond the other."""


class SideBySide:
    """`learners` of one base model, of which one is chosen: its weights, EMA and step results are these. See `Learner`.

    On a device, which holds the replayed rows, there is room for one.
    """

    def __init__(self, learners: Sequence[PreconditionedLearner]) -> None:
        assert len(learners) == 1 or all(each.device == "cpu" for each in learners)
        self._learners = tuple(learners)
        self._number = 0

    @property
    def chosen(self) -> PreconditionedLearner:
        """The one that counts."""
        return self._learners[self._number]

    @property
    def prior(self) -> float:
        """The prior of the one that counts."""
        return self.chosen.prior

    @property
    def kind(self) -> str:
        """See `Learner`."""
        return self.chosen.kind

    @property
    def device(self) -> str:
        """See `Learner`."""
        return self.chosen.device

    @property
    def note(self) -> str:
        """Why it does not compute where it was meant to; empty where it does."""
        return self.chosen.note

    @property
    def steps(self) -> int:
        """See `Learner`."""
        return self.chosen.steps

    def choose(self, features: NDArray[np.float32], score: NDArray[np.float32], group: NDArray[np.uint64]) -> None:
        """Choose by held-out rows of at least four groups; another one has to be better by 2 % to be preferred."""
        if len(self._learners) == 1 or len(np.unique(group)) < MIN_GROUPS:
            return
        errors = [mean_error(each.predict(features, each.ema()) - score, group) for each in self._learners]
        best = min(range(len(errors)), key=errors.__getitem__)
        if errors[best] < (1 - _BETTER_BY) * errors[self._number]:
            self._number = best

    def calibrate(self, features: NDArray[np.float32]) -> None:
        """Add rows to the estimate of the coordinates; see `PreconditionedLearner`."""
        for each in self._learners:
            each.calibrate(features)

    def predict(self, features: NDArray[np.float32], vector: Vector) -> NDArray[np.float32]:
        """See `Learner`."""
        return self.chosen.predict(features, vector)

    def squared_jacobian(self, features: NDArray[np.float32], vector: Vector) -> NDArray[np.float64]:
        """See `Learner`."""
        return self.chosen.squared_jacobian(features, vector)

    def step(self, features: NDArray[np.float32], score: NDArray[np.float32]) -> StepResult:
        """See `Learner`. Its loss at every fourth step is that of the rows to agree on as well."""
        steps = self._learners[0].steps
        if len(self._learners) > 1 and steps >= _AGREE_FROM and steps % _AGREE_EVERY == 0:
            features, score = self._with_agreed(features, score)
        return [each.step(features, score) for each in self._learners][self._number]

    def _with_agreed(
        self, features: NDArray[np.float32], score: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return a batch with rows on the lines through pairs of its own, scored by the mean of all EMA weights."""
        way = _WAY[: len(features)]
        ours, others = features[: len(way)], features[: -len(way) - 1 : -1]
        between = ours + way * (others - ours)
        agreed = sum(each.predict(between, each.ema()) for each in self._learners) / np.float32(len(self._learners))
        if not np.isfinite(agreed).all():
            return features, score
        return np.concatenate((features, between)), np.concatenate((score, agreed))

    def learn(self, lesson: Lesson) -> list[StepResult]:
        """Take the steps of a lesson, as long as `device` is not the processor."""
        return self.chosen.learn(lesson)

    def weights(self) -> Vector:
        """See `Learner`."""
        return self.chosen.weights()

    def ema(self) -> Vector:
        """See `Learner`."""
        return self.chosen.ema()

    def reset(self, vector: Vector) -> None:
        """See `Learner`."""
        self._number = 0
        for each in self._learners:
            each.reset(vector)

    def state(self) -> LearnerState:
        """See `Learner`. The first one's as it is; of each other what is its own, with its number before the name."""
        state = self._learners[0].state() | {"chosen": np.array([self._number], np.float64)}
        for number, each in enumerate(self._learners[1:], start=1):
            own = each.state()
            state |= {f"{number}_{name}": own[name] for name in OWN}
        return state

    def restore(self, state: LearnerState) -> None:
        """See `Learner`. One that the state does not have goes on from its first; one alone, from the one chosen."""
        chosen = int(state.get("chosen", np.zeros(1))[0])
        self._number = chosen if chosen < len(self._learners) else 0
        for number, each in enumerate(self._learners):
            which = chosen if number == self._number else number
            own = {name: state[f"{which}_{name}"] for name in OWN if f"{which}_{name}" in state}
            each.restore({**state, **own})


def mean_error(error: NDArray[np.float32], group: NDArray[np.uint64]) -> float:
    """Return the mean over groups of each one's mean loss, Huber's with its threshold at 3 points; inf for none."""
    size = np.abs(error)
    loss = np.where(size < _UNIT, 0.5 * size * size, _UNIT * (size - 0.5 * _UNIT))
    _, numbers = np.unique(group, return_inverse=True)
    mean = float((np.bincount(numbers, loss) / np.bincount(numbers)).mean())
    return mean if math.isfinite(mean) else math.inf
