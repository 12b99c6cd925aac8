"""The exporter's work, a method a job: each may wait for a disk, and each ends with a look at what is published."""

from __future__ import annotations

from dataclasses import replace

from structlog.typing import FilteringBoundLogger

from pipeline.config import Settings
from pipeline.exporter.candidate import Refused, make
from pipeline.exporter.fixture import Fixture
from pipeline.exporter.handback import Handback
from pipeline.exporter.judging import Judging
from pipeline.exporter.saver import Saver
from pipeline.exporter.settle import NOT_KNOWN_TO_BE_BAD, PROVEN, Overview
from pipeline.exporter.sources import Sources
from pipeline.exporter.store import Store
from pipeline.handoff import TrainerSnapshot
from pipeline.model.errors import UnusableModel
from pipeline.model.graph import BaseModel
from pipeline.state.resume import Saved
from pipeline.telemetry import Board


class NotReady(Exception):
    """There is nothing to export yet; the message says what is missing."""


class Work:
    """Everything that one exporter does to its directory."""

    def __init__(self, settings: Settings, board: Board, log: FilteringBoundLogger, saved: Saved) -> None:
        self._fixture = Fixture.of(settings)
        self._sources = Sources(settings)
        announced = PROVEN if self._fixture else NOT_KNOWN_TO_BE_BAD
        floor = board.exporter().version
        self._store = Store(settings.checkpoint_dir, settings.keep_checkpoints, announced, floor)
        self._judging = Judging(settings.checkpoint_dir, self._fixture, settings.stability_plcc_delta)
        self._saver = Saver(settings, self._sources, board, log, saved)
        self._handback = Handback(settings)
        self._log = log
        self._fixture_problem = ""

    @property
    def problem(self) -> str:
        """What fails, as of the last `upkeep`, without keeping a job from its work; empty for nothing."""
        return "; ".join(filter(None, (self._fixture_problem, self._handback.problem)))

    def upkeep(self) -> Overview:
        """Bring the directory in line with what is in it and with the base model that the trainer serves."""
        base = self._sources.base_model()
        overview = self._store.in_line(base.digest if base else None)
        self._look_at_fixture()
        try:
            self._handback.follow(overview.stable)
        except (OSError, UnusableModel) as error:
            return replace(overview, problems=(*overview.problems, error))
        return overview

    def save(self) -> Overview:
        """Save the state: that needs the right to the directory, whatever else is wrong in it."""
        self._store.claim()
        self._saver.save()
        return self._store.overview

    def export(self) -> Overview:
        """Make a candidate of the trainer's newest weights, judge it, and publish it; `upkeep` does the rest."""
        self._store.claim()
        base, snapshot = self._newest()
        candidate = make(base, snapshot)
        before = self._store.in_line(base.digest)
        verdict = self._judging.verdict(
            candidate.model, base, before.stable, self._sources.holdout(base.digest), before.incomparable
        )
        made = self._store.publish(
            candidate.onnx,
            verdict,
            step=snapshot.step,
            samples=snapshot.samples,
            base=(base.name, base.digest),
        )
        self._log.info("published", version=made.version, state=made.state, reason=made.reason, step=made.step)
        return self._store.overview

    def _look_at_fixture(self) -> None:
        problem = self._fixture.problem() if self._fixture else ""
        if problem and problem != self._fixture_problem:
            self._log.warning("fixture_unusable", reason=problem)
        self._fixture_problem = problem

    def _newest(self) -> tuple[BaseModel, TrainerSnapshot]:
        newest, base = self._sources.snapshot(), self._sources.base_model()
        if newest is None or base is None or newest[0].base_digest != base.digest:
            raise NotReady("the trainer has not published any weights yet")
        snapshot = newest[0]
        if snapshot.n_features != base.n_features:
            raise Refused(f"weights for {snapshot.n_features} features, {base.name} takes {base.n_features}")
        return base, snapshot
