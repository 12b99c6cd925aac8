"""One recipe over the samples: the sidecar's own training and gate, without its clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.checkpoints.checkpoint import Verdict
from pipeline.config import Settings
from pipeline.exporter.gate import Predict, judge
from pipeline.exporter.gate_inputs import held_out
from pipeline.model.graph import BaseModel
from pipeline.shm.reservoir import Reservoir
from pipeline.shm.ring import Ring
from pipeline.shm.rows import RowBatch
from pipeline.trainer.learner import Vector
from pipeline.trainer.online import OnlineTraining
from pipeline.trainer.recipe import Recipe


class Evaluation(msgspec.Struct, frozen=True):
    """Errors after so many samples: on the newest ones before they were trained on, and on held-out ones; RMSE."""

    samples: int
    step: int
    prequential: float | None
    prequential_base: float | None
    held_out: float | None
    held_out_base: float | None


class Judged(msgspec.Struct, frozen=True):
    """What the gate said of a candidate after so many samples."""

    samples: int
    state: str
    reason: str


class Outcome(msgspec.Struct, frozen=True):
    """How a recipe has done; `digest` is of the weights at the end, the same for the same run."""

    recipe: str
    evaluations: list[Evaluation]
    verdicts: list[Judged]
    digest: str


class Rehearsal:
    """A training with its memory, and the gate: over samples of the past, with every replay step, and no clock.

    `stable` is what the gate has let pass last, float32[n_parameters]; None before the first.
    """

    def __init__(self, recipe: Recipe, base: BaseModel, settings: Settings) -> None:
        n_features = base.n_features
        self.ring = Ring.private(settings.replay_capacity, n_features)
        reservoir, self._holdout = (
            _reservoir(capacity, n_features) for capacity in (settings.reservoir_capacity, settings.holdout_capacity)
        )
        self.training = OnlineTraining(base, recipe, self.ring, reservoir, self._holdout, seed=settings.seed)
        self.stable: Vector | None = None
        self._base, self._at_a_time, self._delta = base, recipe.new_rows, settings.stability_plcc_delta

    def replay(self, rows: RowBatch) -> Iterator[int]:
        """Observe all rows in turn; yield how many have been."""
        return replay(self.training, self.ring, rows, self._at_a_time)

    def judge(self) -> Verdict:
        """Judge what would be exported now."""
        on = held_out(self._holdout.snapshot())
        last = None if self.stable is None else self._model(self.stable)
        candidate = self.training.export_vector().copy()
        verdict = judge(self._model(candidate), self._model(self._base.vector()), last, [on], self._delta)
        if verdict.state == "stable":
            self.stable = candidate
            self.training.set_stable(candidate)
        return verdict

    def predict(self, vector: Vector, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Predict with these weights."""
        return self.training.learner.predict(features, vector)

    def _model(self, vector: Vector) -> Predict:
        return partial(self.predict, vector)


def simulate(
    name: str,
    recipe: Recipe,
    base: BaseModel,
    rows: RowBatch,
    settings: Settings,
    every: int,
    progress: Callable[[int], None],
) -> Outcome:
    """Train on all rows in turn; evaluate after each `every`, judge as often as is set."""
    import hashlib

    rehearsal = Rehearsal(recipe, base, settings)
    training = rehearsal.training
    evaluations: list[Evaluation] = []
    verdicts: list[Judged] = []
    first = 0
    for done in rehearsal.replay(rows):
        if done // every > first // every or done == len(rows):
            training.evaluate()
            evaluations.append(_evaluated(training, done))
        if settings.min_samples_ckpt and done // settings.min_samples_ckpt > first // settings.min_samples_ckpt:
            verdict = rehearsal.judge()
            verdicts.append(Judged(done, verdict.state, verdict.reason))
        progress(done - first)
        first = done
    return Outcome(name, evaluations, verdicts, hashlib.sha256(training.export_vector().tobytes()).hexdigest())


def replay(training: OnlineTraining, ring: Ring, rows: RowBatch, at_a_time: int) -> Iterator[int]:
    """Have a training over `ring` observe all rows, with every replay step; yield how many it has observed."""
    for first in range(0, len(rows), at_a_time):
        chunk = rows.select(np.arange(first, min(first + at_a_time, len(rows))))
        ring.extend(chunk)
        training.advance(len(chunk))
        yield first + len(chunk)


def _reservoir(capacity: int, n_features: int) -> Reservoir:
    made = Reservoir.private(capacity, n_features)
    made.open_writer()
    made.claim(1)
    return made


def _evaluated(training: OnlineTraining, samples: int) -> Evaluation:
    figures = training.report()
    errors = [figures.get(f"{on}_{model}_rmse") for on in ("prequential", "held_out") for model in ("ema", "base")]
    return Evaluation(samples, training.total_steps, *errors)
