"""A learner on a device until the device fails, then on the processor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.trainer.learner import Learner, LearnerState, StepResult, Vector
from pipeline.trainer.lesson import Lesson

T = TypeVar("T")

STEPS_AT_RISK = 256
"""How many steps are taken between two copies of the state: a failure costs these, and its own lesson's, at most."""

_LONGEST_REASON = 200


class TakesLessons(Learner, Protocol):
    """A learner with the replayed rows beside it."""

    def learn(self, lesson: Lesson) -> list[StepResult]:
        """Take the steps of a lesson."""


class FallbackLearner:
    """The learner that `on_device` makes; once anything fails there, for good the one that `on_processor` makes.

    The latter goes on from the last state that was copied off the device. Whether a failure was the device's own is not
    asked: if it was not, the processor fails as well, and says so. See `Learner`.

    note   why it is not on the device any more; empty while it is
    """

    def __init__(self, on_device: Callable[[], TakesLessons], on_processor: Callable[[], Learner]) -> None:
        self.note = ""
        self._on_processor = on_processor
        self._copy: LearnerState | None = None
        self._copied_at = 0
        self._on_device: TakesLessons | None = None
        try:
            self._learner: Learner = on_device()
        except Exception as error:
            reason = _reason(error)
        else:
            self._on_device = self._learner
            return
        self._fall_back(reason)

    def _try(self, call: Callable[[Learner], T]) -> T:
        """Return what `call` makes of the learner; where the device fails, of the other one."""
        if self._on_device is not None:
            try:
                return call(self._learner)
            except Exception as error:
                reason = _reason(error)
            # Only now is the traceback gone, which holds tensors.
            self._fall_back(reason)
        return call(self._learner)

    def _fall_back(self, reason: str) -> None:
        self.note = f"the device failed ({reason}): training on the CPU"
        if self._on_device is not None:
            self._on_device = None
            del self._learner
        self._learner = self._on_processor()
        if self._copy is not None:
            self._learner.restore(self._copy)
            self._copy = None

    def _keep(self, state: LearnerState) -> None:
        """Keep a state to go on from, as long as that may be needed."""
        if self._on_device is not None:
            self._copy = {name: part.copy() for name, part in state.items()}
            self._copied_at = self.steps

    @property
    def device(self) -> str:
        """See `Learner`."""
        return self._learner.device

    @property
    def kind(self) -> str:
        """See `Learner`."""
        return self._learner.kind

    @property
    def steps(self) -> int:
        """See `Learner`."""
        return self._learner.steps

    def learn(self, lesson: Lesson) -> list[StepResult]:
        """Take the steps of a lesson; none where the device fails meanwhile, or did before."""
        results = self._try(lambda _: [] if self._on_device is None else self._on_device.learn(lesson))
        if self._on_device is not None and self.steps - self._copied_at >= STEPS_AT_RISK:
            self.state()
        return results

    def predict(self, features: NDArray[np.float32], vector: Vector) -> NDArray[np.float32]:
        """See `Learner`."""
        return self._try(lambda learner: learner.predict(features, vector))

    def squared_jacobian(self, features: NDArray[np.float32], vector: Vector) -> NDArray[np.float64]:
        """See `Learner`."""
        return self._try(lambda learner: learner.squared_jacobian(features, vector))

    def step(self, features: NDArray[np.float32], score: NDArray[np.float32]) -> StepResult:
        """See `Learner`."""
        return self._try(lambda learner: learner.step(features, score))

    def weights(self) -> Vector:
        """See `Learner`."""
        return self._try(lambda learner: learner.weights())

    def ema(self) -> Vector:
        """See `Learner`."""
        return self._try(lambda learner: learner.ema())

    def reset(self, vector: Vector) -> None:
        """See `Learner`."""

        def set_and_read(learner: Learner) -> LearnerState:
            learner.reset(vector)
            return learner.state()

        self._keep(self._try(set_and_read))

    def state(self) -> LearnerState:
        """See `Learner`."""
        state = self._try(lambda learner: learner.state())
        self._keep(state)
        return state

    def restore(self, state: LearnerState) -> None:
        """See `Learner`."""
        self._try(lambda learner: learner.restore(state))
        self._keep(state)


def _reason(error: Exception) -> str:
    """Return what went wrong in a line; an unusable graph is so for what its operator raised."""
    cause = error.__cause__ or error
    first_line = (str(cause).strip() or "no reason given").splitlines()[0]
    return f"{type(cause).__name__}: {first_line}"[:_LONGEST_REASON]
