"""The trainer's loop: learns from the ring, publishes what it has learned, and reports."""

from __future__ import annotations

import math
import time

import numpy as np

from pipeline.model.errors import UnusableModel
from pipeline.model.score import Interrupted
from pipeline.runtime import regions
from pipeline.runtime.lifecycle import Ending, ExitCode
from pipeline.runtime.process import Process
from pipeline.runtime.reports import TrainerReport
from pipeline.shm.ring import Ring
from pipeline.shm.segment import Segment, SegmentAbsent, SegmentMismatch
from pipeline.trainer import base as base_model
from pipeline.trainer.budget import CpuBudget
from pipeline.trainer.device import choose_device
from pipeline.trainer.online import OnlineTraining
from pipeline.trainer.orders import Obedience, open_orders
from pipeline.trainer.parity import check_parity
from pipeline.trainer.recipe import Recipe
from pipeline.trainer.resume import resume
from pipeline.trainer.snapshot_publisher import SnapshotPublisher
from pipeline.trainer.stable_follower import StableFollower
from pipeline.trainer.trust import NodeTrust

# Rows observed between two looks at stop flag, budget and clock: a few milliseconds of work.
_ROWS_PER_TURN = 64
_LOOK_FOR_RING_S = 0.05
_NAMED = 100
"""Nodes that are reported at most, of those from which nothing is learned."""
_FIGURES_INTERVAL_S = 0.25
_EVALUATION_INTERVAL_S = 2.0


def serve(process: Process[TrainerReport]) -> None:
    """Train on what arrives in the ring until told to stop."""
    np.seterr(all="ignore")  # a step that overflows is undone; the learner tells by the results
    settings = process.settings
    process.phase("initializing")
    reservoir, first = regions.own_reservoir(settings, "reservoir", settings.reservoir_capacity)
    holdout, second = regions.own_reservoir(settings, "holdout", settings.holdout_capacity)
    base = base_model.obtain(process)
    orders = open_orders(process) if base is not None else None
    attached = _wait_for_ring(process) if orders is not None else None
    if base is None or orders is None or attached is None:
        return
    ring, ring_region = attached
    device, note = choose_device(settings)
    recipe = Recipe.from_settings(settings)
    try:
        trust = NodeTrust(is_trained=settings.base_model is not None) if settings.pool else None
        training = OnlineTraining(
            base, recipe, ring, reservoir, holdout, seed=settings.seed, device=device, trust=trust
        )
        check_parity(base, training.learner)
    except Interrupted:
        if process.should_stop():
            return  # the stop that ended the check is meant for this process too
        raise
    except UnusableModel as error:
        raise Ending(ExitCode.BASE_MODEL_UNUSABLE, f"VMAFX_BASE_MODEL_PATH: {error}") from None
    publisher = SnapshotPublisher(settings, base, training, ring)
    process.own(first.segment, second.segment, *publisher.segments)
    resume(process, publisher, training, ring, {"reservoir": reservoir, "holdout": holdout})
    report = process.report
    report.recipe, report.base_model, report.base_digest = settings.recipe, base.name, base.digest
    report.device = ""  # that of the previous start
    _say_where(process, training, note)
    obedience = Obedience(process, orders, base, training, publisher)
    process.log.info("training", base_model=base.name, learner=report.learner, step=training.total_steps)
    _train(process, training, publisher, obedience, ring, ring_region)


def _say_where(process: Process[TrainerReport], training: OnlineTraining, note: str = "") -> None:
    """Report the device if it has changed; `note` says why it is not the one of the settings."""
    learner, report = training.learner, process.report
    if learner.device == report.device:
        return
    report.device, report.learner, report.device_note = learner.device, learner.kind, learner.note or note
    if report.device_note:
        process.log.warning("device", device=report.device, note=report.device_note)


def _wait_for_ring(process: Process[TrainerReport]) -> tuple[Ring, Segment] | None:
    while not process.should_stop():
        try:
            return regions.attach_ring(process.settings)
        except (SegmentAbsent, SegmentMismatch) as error:
            process.phase("initializing", f"waiting for ingest: {error}")
            process.wait(_LOOK_FOR_RING_S)
    return None


def _train(
    process: Process[TrainerReport],
    training: OnlineTraining,
    publisher: SnapshotPublisher,
    obedience: Obedience,
    ring: Ring,
    ring_region: Segment,
) -> None:
    budget = CpuBudget(process.settings.cpu_share)
    stable = StableFollower(process)
    stable.follow(training)
    report = _Progress(process, training, publisher, ring, budget)
    evaluation = _Evaluation(process, training)
    publisher.publish()
    report.publish()
    obedience.show()
    while not process.should_stop():
        if obedience.is_news or process.reporter.due:  # seldom: to see whether the region was replaced asks the kernel
            obedience.follow()
        observed = 0 if obedience.paused else training.advance(_ROWS_PER_TURN, replay=budget.allows_replay())
        if not observed or publisher.due:
            publisher.publish()
        if process.reporter.due:
            report.publish()
            stable.follow(training)
        if evaluation.due_in <= 0:
            evaluation.make()
            report.measure()
        process.look_after()
        if not observed:
            if not ring_region.is_current():
                process.log.warning("ring_replaced")
                return
            due_in = min(report.due_in, evaluation.due_in)
            process.wait(due_in, unless=lambda: obedience.is_news or _has_work(training, ring, obedience))
    publisher.publish()
    report.measure()
    report.publish()


def _has_work(training: OnlineTraining, ring: Ring, obedience: Obedience) -> bool:
    return ring.head > training.cursor and not obedience.paused


class _Evaluation:
    """Judges the models on the held-out rows, at most every two seconds, and only after further steps."""

    def __init__(self, process: Process[TrainerReport], training: OnlineTraining) -> None:
        self._process, self._training = process, training
        self._made_at, self._made_step = time.monotonic(), -1

    @property
    def due_in(self) -> float:
        """Seconds until the next one; not above 0 where it is due."""
        if self._training.total_steps == self._made_step:
            return math.inf
        return self._made_at + _EVALUATION_INTERVAL_S - time.monotonic()

    def make(self) -> None:
        """Judge now."""
        if self._training.evaluate():
            self._process.log.error("rolled_back", to="last stable weights", rollbacks=self._training.rollbacks)
        self._made_at, self._made_step = time.monotonic(), self._training.total_steps


class _Progress:
    """Carries the training's figures into the report."""

    def __init__(
        self,
        process: Process[TrainerReport],
        training: OnlineTraining,
        publisher: SnapshotPublisher,
        ring: Ring,
        budget: CpuBudget,
    ) -> None:
        self._process, self._training, self._publisher = process, training, publisher
        self._ring, self._budget = ring, budget
        self.measure()
        self._drift_events, self._target_changes = int(self._figures.get("drift_events", 0)), training.target_changes

    @property
    def due_in(self) -> float:
        """Seconds until there is something to publish that has not been; infinite where there is nothing."""
        reporter, cursor = self._process.reporter, self._training.cursor
        if reporter.report.cursor != cursor:
            return reporter.due_in
        if self._measured_state != self._state:
            return max(reporter.due_in, self._measured_at + _FIGURES_INTERVAL_S - time.monotonic())
        return math.inf

    @property
    def _state(self) -> tuple[int, int]:
        """What the figures depend on: they change with each row, and at a reset without any."""
        return self._training.cursor, self._training.resets

    def measure(self) -> None:
        """Compute the figures again, which costs as much as twenty steps."""
        self._figures = self._training.report()
        self._measured_at, self._measured_state = time.monotonic(), self._state

    def publish(self) -> None:
        """Publish how far training is; the step is that of the published weights: it never falls."""
        due = time.monotonic() - self._measured_at >= _FIGURES_INTERVAL_S
        if due and self._measured_state != self._state:
            self.measure()
        figures, report = self._figures, self._process.report
        report.step, report.cursor = self._publisher.step, self._training.cursor
        report.lag = max(0, self._ring.head - self._training.cursor)
        report.evicted_untrained = self._training.evicted_untrained
        report.excluded, report.distrusted = self._training.excluded, self._training.distrusted[:_NAMED]
        report.steps_undone, report.rollbacks = self._training.steps_undone, self._training.rollbacks
        report.reservoir_rows, report.holdout_rows = int(figures["reservoir_rows"]), int(figures["holdout_rows"])
        report.loss = figures.get("loss")
        report.cpu_share = self._budget.used_share
        report.metrics = {name: value for name, value in figures.items() if math.isfinite(value)}
        self._note_drift(int(figures.get("drift_events", 0)))
        self._note_change(self._training.target_changes)
        _say_where(self._process, self._training)
        self._process.reporter.publish()

    def _note_drift(self, events: int) -> None:
        if events > self._drift_events:
            self._process.log.warning("drift_detected", events=events, step=self._publisher.step)
        self._drift_events = self._process.report.drift_events = events

    def _note_change(self, changes: int) -> None:
        if changes > self._target_changes:
            self._process.log.warning("target_changed", changes=changes, from_sample=self._training.start)
            self._process.report.start = self._training.start
        self._target_changes = self._process.report.target_changes = changes
