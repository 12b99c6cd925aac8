"""One recipe over the samples: the sidecar's own training and gate, without its clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import msgspec
import numpy as np

from pipeline.config import Settings
from pipeline.exporter.gate import judge
from pipeline.exporter.gate_inputs import held_out
from pipeline.model.graph import BaseModel
from pipeline.shm.reservoir import Reservoir
from pipeline.shm.ring import Ring
from pipeline.shm.rows import RowBatch
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


def simulate(
    name: str,
    recipe: Recipe,
    base: BaseModel,
    rows: RowBatch,
    settings: Settings,
    every: int,
    progress: Callable[[int], None],
) -> Outcome:
    """Train on all rows in turn, with every replay step; evaluate after each `every`, judge as often as is set."""
    import hashlib

    ring = Ring.private(settings.replay_capacity, rows.n_features)
    reservoir, holdout = (_reservoir(n, rows) for n in (settings.reservoir_capacity, settings.holdout_capacity))
    training = OnlineTraining(base, recipe, ring, reservoir, holdout, seed=settings.seed)
    evaluations: list[Evaluation] = []
    verdicts: list[Judged] = []
    stable = None
    first = 0
    for done in replay(training, ring, rows, recipe.new_rows):
        if done // every > first // every or done == len(rows):
            training.evaluate()
            evaluations.append(_evaluated(training, done))
        if settings.min_samples_ckpt and done // settings.min_samples_ckpt > first // settings.min_samples_ckpt:
            verdict = _judged(training, base, stable, holdout, settings.stability_plcc_delta)
            verdicts.append(Judged(done, verdict.state, verdict.reason))
            if verdict.state == "stable":
                stable = training.export_vector().copy()
                training.set_stable(stable)
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


def _reservoir(capacity: int, rows: RowBatch) -> Reservoir:
    made = Reservoir.private(capacity, rows.n_features)
    made.open_writer()
    made.claim(1)
    return made


def _evaluated(training: OnlineTraining, samples: int) -> Evaluation:
    figures = training.report()
    errors = [figures.get(f"{on}_{model}_rmse") for on in ("prequential", "held_out") for model in ("ema", "base")]
    return Evaluation(samples, training.total_steps, *errors)


def _judged(training: OnlineTraining, base: BaseModel, stable: Any, holdout: Reservoir, delta: float) -> Any:
    on = held_out(holdout.snapshot())

    def model(vector: Any) -> Callable[[Any], Any]:
        return partial(_predict, training, vector)

    last = None if stable is None else model(stable)
    return judge(model(training.export_vector()), model(base.vector()), last, [on], delta)


def _predict(training: OnlineTraining, vector: Any, features: Any) -> Any:
    return training.learner.predict(features, vector)
