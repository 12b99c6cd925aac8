"""Every number of the learning recipe in one place."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.config import Settings

REFERENCE_LR = 1e-4
"""The value of VMAFX_SIDECAR_LR that means the recipe's own step size."""


ADAM_STEP_SIZE = 0.01
"""Step size with which Adam does best in the same coordinates."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How the model learns. The defaults were chosen by measurement: docs/learning-results.md.

    optimizer           "sgd" (with momentum) or "adam"
    step_size           learning rate, in the coordinates of `preconditioning.py`
    momentum            of SGD; Adam's first decay
    weight_decay        pull towards the origin of the coordinates: the base model
    prior               the weight decay is at least this divided by the number of steps taken
    rival_priors        those of further learners beside the first; none: it is alone
    max_norm            gradients longer than this are shortened to it
    warmup_steps        the step size rises linearly over this many steps
    ema_decay           upper bound of the EMA's decay
    ema_ramp            whether the decay rises with the steps taken, or is `ema_decay` from the first
    batch_size          rows in a train step
    replay_mix          share of replayed rows in the step that trains on new rows
    recent_share        share of the replayed rows that is drawn from the newest, the rest from the whole past
    replay_ratio        train steps for each new row, where processor time allows
    residual_unit       score points that count as one in the loss: where Huber's loss turns linear
    sensitivity         score points by which one unit of the coordinates moves the score
    robust              Huber's loss, or else half the squared error
    calibration_rows    rows from which the coordinates are estimated; 0: the model's own coordinates
    """

    optimizer: str = "sgd"
    step_size: float = 0.025
    momentum: float = 0.9
    weight_decay: float = 1e-5
    prior: float = 18.0
    rival_priors: tuple[float, ...] = (0.0,)
    max_norm: float = 1.0
    warmup_steps: int = 100
    ema_decay: float = 0.999
    ema_ramp: bool = True
    batch_size: int = 32
    replay_mix: float = 0.5
    recent_share: float = 0.25
    replay_ratio: float = 1.0
    residual_unit: float = 3.0
    robust: bool = True
    sensitivity: float = 15.0
    calibration_rows: int = 1024

    @classmethod
    def adr_0781(cls) -> Recipe:
        """Return the design record's recipe, literally.

        SGD at 1e-4 on the 0..100 scale, one step for 32 new samples, EMA decay 0.999 from the first step.
        """
        return cls(
            step_size=REFERENCE_LR,
            prior=0.0,
            rival_priors=(),
            ema_ramp=False,
            batch_size=64,
            recent_share=1.0,
            replay_ratio=0.0,
            residual_unit=1.0,
            robust=False,
            calibration_rows=0,
        )

    @classmethod
    def from_scratch(cls) -> Recipe:
        """Return the recipe for an untrained network: without a prior."""
        return cls(prior=0.0, rival_priors=())

    @classmethod
    def from_settings(cls, settings: Settings) -> Recipe:
        """Return the recipe that the settings ask for.

        VMAFX_SIDECAR_LR scales the step size in proportion: 1e-4, its default, is the recipe's own. The literal recipe
        takes it as it is.
        """
        own = cls.from_scratch() if settings.base_model is None else cls()
        base = cls.adr_0781() if settings.recipe == "adr-0781" else own
        adam = settings.optimizer == "adam"
        step_size = ADAM_STEP_SIZE if adam and base is own else base.step_size
        return replace(
            base,
            optimizer=settings.optimizer,
            step_size=step_size * settings.lr / REFERENCE_LR,
            ema_decay=settings.ema_decay,
            batch_size=settings.batch_size * base.batch_size // cls().batch_size,
            replay_mix=settings.replay_mix,
        )

    @property
    def priors(self) -> tuple[float, ...]:
        """The prior of each learner, the first one's first."""
        return (self.prior, *self.rival_priors)

    @property
    def new_rows(self) -> int:
        """Number of new rows in a batch that also replays."""
        return max(1, round(self.batch_size * (1 - self.replay_mix)))

    def step_size_at(self, step: int) -> float:
        """Return the learning rate of a step, counted from 1."""
        return self.step_size * min(1.0, step / self.warmup_steps) if self.warmup_steps else self.step_size

    def weight_decay_at(self, step: int) -> float:
        """Return the weight decay at a step, counted from 1: the fewer the steps, the stronger the prior."""
        return max(self.weight_decay, self.prior / step)

    def ema_decay_at(self, step: int) -> float:
        """Return the EMA's decay at a step, counted from 1; the ramp is (1 + step) / (10 + step)."""
        return min(self.ema_decay, (1 + step) / (10 + step)) if self.ema_ramp else self.ema_decay

    def replay_steps(self, new_rows: int) -> int:
        """Return how many further steps follow the one that trained on `new_rows` new rows."""
        return max(0, math.ceil(new_rows * self.replay_ratio) - 1)
