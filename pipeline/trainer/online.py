"""Online training: every sample is predicted, then learned from, once as new and again from memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.model.accuracy import agreement
from pipeline.model.graph import BaseModel
from pipeline.shm.exclusion import Exclusion, without
from pipeline.shm.reservoir import Reservoir
from pipeline.shm.ring import Ring
from pipeline.shm.rows import RowBatch
from pipeline.trainer.drift import PageHinkley
from pipeline.trainer.holdout import HoldOut
from pipeline.trainer.learner import StepResult, Vector
from pipeline.trainer.learners import new_learner
from pipeline.trainer.lesson import Lessons
from pipeline.trainer.memory import Memory
from pipeline.trainer.prequential import Prequential
from pipeline.trainer.recipe import Recipe
from pipeline.trainer.rollback_policy import RollbackPolicy
from pipeline.trainer.target_change import TargetChange
from pipeline.trainer.trust import NodeTrust

_WINDOW = 4096
_CHOOSE_EVERY = 500
"""New rows from one choice between learners to the next; where many rows are held out, a tenth of so many."""
_LATE_SHARE = 16
"""Memory is gone through for groups that are held out late at most once in this share of the ring's rows."""


class OnlineTraining:
    """Learns from `ring` by `recipe`, starting from `base`.

    The rows of held-out groups go to the reservoir `holdout` and are never trained on; the others are offered to
    `reservoir`. The caller is the only writer of both reservoirs. Everything random follows from `seed`. With `trust`,
    rows of nodes whose scores do not fit those of the others are predicted, and no more; as are rows without sense.

    cursor              sequence of the next row to observe
    start               sequence of the first row that this training may use
    evicted_untrained   rows that left the ring before they were observed
    excluded            rows that were left out: an operator does not want them, or in a pool they make no sense
    resets              number of the operator's last reset that this training has gone through
    target_changes      times that rows from before a change of the target were dropped
    """

    def __init__(
        self,
        base: BaseModel,
        recipe: Recipe,
        ring: Ring,
        reservoir: Reservoir,
        holdout: Reservoir,
        *,
        seed: int = 0,
        device: str = "cpu",
        trust: NodeTrust | None = None,
    ) -> None:
        self.cursor = 0
        self.start = 0
        self.evicted_untrained = 0
        self.excluded = 0
        self.resets = 0
        self.rollbacks = 0
        self.steps_undone = 0
        self.total_steps = 0
        self.target_changes = 0
        self._recipe = recipe
        self._ring, self._reservoir = ring, reservoir
        self._seed = seed
        self.learner = new_learner(base, recipe, device, ring.slots + reservoir.capacity)
        self._memory = Memory(ring, reservoir, recipe.batch_size, recipe.recent_share, seed)
        self._lessons = Lessons(self._memory, ring, reservoir)
        self._holdout = HoldOut(holdout, reservoir)
        self._choose_every = max(_CHOOSE_EVERY, holdout.capacity // 10)
        self._prequential = Prequential(("ema", "base", "stable"), _WINDOW)
        self._drift = PageHinkley()
        self._doubt = TargetChange()
        self._trust = trust
        self._rollback_policy = RollbackPolicy()
        self._exclusions: tuple[Exclusion, ...] = ()
        self._late: set[int] = set()
        self._late_from = 0
        self._references: dict[str, Vector] = {"base": base.vector()}
        self._held_out_figures: dict[str, dict[str, float]] = {}
        self._last = StepResult(math.nan, math.nan, applied=False)
        self._chunk = RowBatch(recipe.new_rows, ring.n_features)

    def advance(self, max_rows: int, *, replay: bool = True) -> int:
        """Observe up to `max_rows` new rows; return how many there were.

        Each is trained on in one step, in a batch filled up from memory. With `replay`, further steps on memory
        alone follow, as many as the recipe says.
        """
        observed = 0
        while observed < max_rows:
            rows = self._read(max_rows - observed)
            if not len(rows):
                break
            wanted = without(rows, self._exclusions)
            self.excluded += len(rows) - len(wanted)
            if len(wanted):
                self._observe(wanted, replay=replay)
            self._advance_to(self.cursor + len(rows))
            observed += len(rows)
        return observed

    def _advance_to(self, cursor: int) -> None:
        """Note that all rows before `cursor` were observed, and do what is due now and then."""
        before, self.cursor = self.cursor, cursor
        if cursor // self._choose_every != before // self._choose_every:
            held = self._holdout.view()
            self.learner.choose(held.features, held.score, held.group)
            if self._trust is not None and self._trust.review():
                self._drop_unwanted()
        if self._doubt.is_due(cursor):
            self._look_for_change()

    def _read(self, at_most: int) -> RowBatch:
        """Return the next rows, none if there are none; count those that were evicted before."""
        evicted = max(0, self._ring.oldest - self.cursor)
        self.evicted_untrained += evicted
        self.cursor += evicted
        out = self._chunk.first(min(at_most, len(self._chunk)))
        return out.first(self._ring.read(self.cursor, out))

    def _observe(self, rows: RowBatch, *, replay: bool) -> None:
        rows = self._tested(rows)
        coin = Random(self.cursor ^ self._seed)  # noqa: S311  a sampling decision
        fresh = self._holdout.divert(rows, coin)
        self._late.update(self._holdout.late)
        if self._late and self.cursor >= self._late_from:
            self._replay_no_more()
        if not len(fresh):
            return
        self.learner.calibrate(fresh.features)
        further = self._recipe.replay_steps(len(fresh)) if replay else 0
        if self.learner.device != "cpu":
            for result in self.learner.learn(self._lessons.of(fresh, coin, further)):
                self._count(result)
            return
        self._step(self._memory.batch(fresh))
        self._memory.remember(fresh.sequence)
        self._reservoir.offer(fresh, coin)
        for _ in range(further):
            self._step(self._memory.batch())

    def _tested(self, rows: RowBatch) -> RowBatch:
        """Predict before training, for the prequential figures and the drift detector; return what to learn from."""
        vectors = {"ema": self.learner.ema(), **self._references}
        predictions = {name: self.learner.predict(rows.features, vector) for name, vector in vectors.items()}
        if self._trust is not None:
            base_error = predictions["base"] - rows.score
            self._trust.add(rows, predictions["ema"] - rows.score, base_error)
            sensible = self._trust.make_sense(base_error)
            if not sensible.all():
                self.excluded += len(rows) - int(sensible.sum())
                rows, predictions = rows.select(sensible), {name: each[sensible] for name, each in predictions.items()}
        if not len(rows):
            return rows
        self._prequential.add(rows.score, predictions)
        error = float(np.abs(predictions["ema"] - rows.score).mean())
        if math.isfinite(error) and self._drift.add(error):
            self._doubt.begin(int(rows.sequence[-1]) + 1, self._prequential.newest_errors("ema", _WINDOW))
        return rows if self._trust is None else self._trust.without_distrusted(rows)

    def _replay_no_more(self) -> None:
        """Take groups out of what is trained on again that are held out from now on.

        All memory is gone through for it, so those that come soon after wait for each other: else a sender that says
        so of one group after the other would have a trainer do nothing else.
        """
        stored = self._reservoir.snapshot()
        _keep(self._reservoir, stored.select(~np.isin(stored.group, np.array(list(self._late), np.uint64))))
        self._late.clear()
        self._late_from = self.cursor + self._ring.capacity // _LATE_SHARE
        self._remember_ring()

    def _look_for_change(self) -> None:
        """Where the target has changed since the error rose, go on with the rows since then alone."""
        since = self._doubt.since
        assert since is not None
        stored, held = self._reservoir.snapshot(), self._holdout.rows()
        old = stored.select(stored.sequence < since)
        remembered = np.abs(self.learner.predict(old.features, self.learner.ema()) - old.score)
        new = self._prequential.newest_errors("ema", self.cursor - since)
        held = held.select(held.sequence >= since)
        if not self._doubt.is_certain(new, remembered, len(np.unique(held.group))):
            return
        _keep(self._reservoir, stored.select(stored.sequence >= since))
        _keep(self._holdout.reservoir, held)
        self.start = since
        self.target_changes += 1
        self._doubt.end()
        self._remember_ring()

    def _step(self, batch: RowBatch) -> None:
        self._count(self.learner.step(batch.features, batch.score))

    def _count(self, result: StepResult) -> None:
        if result.applied:
            self._last = result
            self.total_steps += 1
        else:
            self.steps_undone += 1

    @property
    def distrusted(self) -> list[int]:
        """The nodes (hashes) whose scores do not fit those of the others."""
        return [] if self._trust is None else sorted(self._trust.distrusted)

    def export_vector(self) -> Vector:
        """Return the EMA weights float32[n_parameters]."""
        return self.learner.ema()

    def set_stable(self, vector: Vector) -> None:
        """Say which weights float32[n_parameters] the last stable checkpoint has."""
        self._references["stable"] = vector.copy()

    def forget_stable(self) -> None:
        """Say that there is no stable checkpoint any more."""
        self._references.pop("stable", None)

    def exclude(self, exclusions: Sequence[Exclusion]) -> int:
        """Learn from and judge by none of these rows from now on, in whatever memory they are; return how many left.

        What is no longer excluded comes back as far as the ring has it.
        """
        self._exclusions = tuple(exclusions)
        return self._drop_unwanted()

    def _drop_unwanted(self) -> int:
        left = 0
        for memory in (self._reservoir, self._holdout.reservoir):
            rows = memory.snapshot()
            wanted = self._wanted(rows)
            if len(wanted) < len(rows):
                _keep(memory, wanted)
                left += len(rows) - len(wanted)
        self._remember_ring()
        return left

    def _wanted(self, rows: RowBatch) -> RowBatch:
        """Return the rows that may be learned from and judged by."""
        rows = without(rows, self._exclusions)
        if self._trust is None:
            return rows
        base_error = self.learner.predict(rows.features, self._references["base"]) - rows.score
        return self._trust.without_distrusted(rows.select(self._trust.make_sense(base_error)))

    def reset_to(self, vector: Vector, *, forget_samples: bool = False) -> None:
        """Start over from the weights float32[n_parameters]; without any sample of before where these are forgotten."""
        self.learner.reset(vector)
        self._drift = PageHinkley()
        self._doubt.end()
        self._rollback_policy = RollbackPolicy()
        self._prequential.forget()
        self._held_out_figures = {}
        if forget_samples:
            for memory in (self._reservoir, self._holdout.reservoir):
                memory.empty(memory.lineage)
            self._holdout.trained = self._holdout.diverted = 0
            self.cursor = self.start = self._ring.head
            self._remember_ring()

    def evaluate(self) -> bool:
        """Judge all models on the held-out rows; return whether the live weights were so bad that they were replaced.

        Replaced by those of the last stable checkpoint, from which training starts over.
        """
        rows = self._holdout.rows()
        vectors = {"live": self.learner.weights(), "ema": self.learner.ema(), **self._references}
        self._held_out_figures = {
            name: agreement(self.learner.predict(rows.features, vector), rows.score) for name, vector in vectors.items()
        }
        stable = self._references.get("stable")
        if stable is None:
            return False
        finite = bool(np.isfinite(vectors["live"]).all())
        errors = {name: figures["rmse"] for name, figures in self._held_out_figures.items()}
        if not self._rollback_policy.should_roll_back(finite, errors["live"], errors["stable"]):
            return False
        self.learner.reset(stable)
        self.rollbacks += 1
        return True

    def report(self) -> dict[str, float]:
        """Return the counters and figures by name; a figure that does not exist is missing.

        Figures are called {prequential|held_out}_{ema|base|stable|live}_{rmse|plcc|srocc}: prequential ones over the
        newest samples, each predicted before it was trained on; held-out ones as of the last `evaluate`.
        """
        figures = {"prequential": self._prequential.figures(), "held_out": self._held_out_figures}
        named = {
            f"{kind}_{model}_{name}": value
            for kind, models in figures.items()
            for model, values in models.items()
            for name, value in values.items()
        }
        numbers: dict[str, float] = {
            "step": self.total_steps,
            "cursor": self.cursor,
            "loss": self._last.loss,
            "grad_norm": self._last.grad_norm,
            "steps_undone": self.steps_undone,
            "evicted_untrained": self.evicted_untrained,
            "excluded": self.excluded,
            "rollbacks": self.rollbacks,
            "drift_events": self._drift.detected,
            "target_changes": self.target_changes,
            "prior": self.learner.prior,
            "prequential_rows": min(self._prequential.count, _WINDOW),
            "rows_trained": self._holdout.trained,
            "rows_held_out": self._holdout.diverted,
            "reservoir_rows": len(self._reservoir),
            "holdout_rows": len(self._holdout),
        }
        return {name: value for name, value in (numbers | named).items() if math.isfinite(value)}

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return all that training depends on besides ring and reservoirs: plain numbers, and flat arrays by name.

        Which weights are stable is not among it: who says so, says so again.
        """
        meta = {name: getattr(self, name) for name in _COUNTERS} | {
            "cursor": self.cursor,
            "start": self.start,
            "draws": self._memory.random.made,
            "trained": self._holdout.trained,
            "diverted": self._holdout.diverted,
            "prequential_count": self._prequential.count,
            "drift": self._drift.state(),
            "doubt": self._doubt.state(),
            "bad_in_a_row": self._rollback_policy.bad_in_a_row,
        }
        vectors: dict[str, NDArray[Any]] = {f"learner_{name}": part for name, part in self.learner.state().items()}
        vectors["prequential"] = self._prequential.window.ravel().copy()
        if self._trust is not None:
            vectors |= {f"trust_{name}": part for name, part in self._trust.state().items()}
        return meta, vectors

    def restore(self, meta: dict[str, Any], vectors: dict[str, NDArray[Any]]) -> None:
        """Continue from `state`, with ring and reservoirs as they were then or have gone on since."""
        for name in _COUNTERS:
            setattr(self, name, meta.get(name, 0))  # one that is newer than the state begins at 0
        if self._trust is not None:
            self._trust.restore(_named(vectors, "trust_"))
        self.begin(meta["cursor"], meta.get("start", 0))
        self._memory.random.made = meta["draws"]
        self._holdout.trained, self._holdout.diverted = meta["trained"], meta["diverted"]
        self._prequential.restore(vectors["prequential"], meta["prequential_count"])
        self._drift.restore(meta["drift"])
        self._doubt.restore(meta.get("doubt", []))
        self._rollback_policy.bad_in_a_row = meta["bad_in_a_row"]
        self.learner.restore(_named(vectors, "learner_"))

    def begin(self, cursor: int, start: int) -> None:
        """Go on at `cursor`; the ring's rows from `start` on were observed, and may be replayed."""
        self.cursor, self.start = cursor, start
        self._remember_ring()

    def _remember_ring(self) -> None:
        """Let those of the ring's rows be replayed that were observed, are not held out, and not excluded."""
        rows, _ = self._ring.snapshot()
        rows = self._wanted(rows)
        observed = (self.start <= rows.sequence) & (rows.sequence < self.cursor) & ~self._holdout.belongs(rows)
        self._memory.forget()
        self._memory.remember(rows.sequence[observed][-self._ring.capacity :])
        self._lessons.begin_anew()


def _named(vectors: dict[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    """Return those whose names begin so, by the rest of their names."""
    return {key.removeprefix(prefix): part for key, part in vectors.items() if key.startswith(prefix)}


def _keep(memory: Reservoir, rows: RowBatch) -> None:
    """Leave only these of its rows in a reservoir."""
    memory.restore(rows.words, memory.groups_seen, memory.lineage)


_COUNTERS = ("evicted_untrained", "excluded", "resets", "rollbacks", "steps_undone", "target_changes", "total_steps")
