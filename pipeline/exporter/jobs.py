"""The exporter's jobs, and the one thread that does them: each may wait for a disk.

So the process can still report, and be stopped, while a disk does not answer.
"""

from __future__ import annotations

from dataclasses import replace

from pipeline.artifacts.offer import Slot
from pipeline.checkpoints.checkpoint import Checkpoint, Verdict
from pipeline.checkpoints.reconcile import NOT_KNOWN_TO_BE_BAD, PROVEN, Overview
from pipeline.checkpoints.store import Store
from pipeline.config import Settings
from pipeline.exporter.candidate import Refused, make
from pipeline.exporter.fixture import Fixture
from pipeline.exporter.gate_inputs import GateInputs
from pipeline.exporter.offered import MARGIN, Offers, Outcome, may_go_on_from
from pipeline.exporter.sources import Sources
from pipeline.exporter.stable_publisher import StablePublisher
from pipeline.exporter.state_writer import StateWriter
from pipeline.exporter.taken import base_path, taken_by_base
from pipeline.model.errors import UnusableModel
from pipeline.model.features import Features
from pipeline.model.graph import BaseModel
from pipeline.model.runtime import OnnxModel
from pipeline.runtime.control import Control, Orders
from pipeline.runtime.logs import Logger
from pipeline.runtime.messages import TrainerSnapshot
from pipeline.runtime.reports import Board
from pipeline.runtime.restore import Saved


class NotReady(Exception):
    """There is nothing to export yet; the message says what is missing."""


class Jobs:
    """Everything that one exporter does to its directory."""

    def __init__(self, settings: Settings, board: Board, log: Logger, saved: Saved) -> None:
        self._fixture = Fixture.of(settings)
        self._sources = Sources(settings)
        announced = PROVEN if self._fixture else NOT_KNOWN_TO_BE_BAD
        floor = board.exporter().version
        self._store = Store(settings.checkpoint_dir, settings.keep_checkpoints, announced, floor)
        self._gate_inputs = GateInputs(
            settings.checkpoint_dir, self._fixture, settings.stability_plcc_delta, settings.state_dir
        )
        self._offers = Offers(settings, log)
        self._state_writer = StateWriter(settings, self._sources, board, log, saved)
        self._stable_publisher = StablePublisher(settings)
        self._log = log
        self._settings = settings
        self._orders: Orders | None = None
        self._fixture_problem = ""
        self.has_offers = False
        """Whether a model from elsewhere is to be judged, as of the end of the last job."""

    @property
    def problem(self) -> str:
        """What fails, as of the last `upkeep`, without keeping a job from its work; empty for nothing."""
        return "; ".join(filter(None, (self._fixture_problem, self._stable_publisher.problem)))

    def upkeep(self) -> Overview:
        """Bring the directory in line with what is in it and with the base model that the trainer serves."""
        base = self._sources.base_model()
        overview = self._store.in_line(base.digest if base else None)
        self.has_offers = self._offers.are_there
        self._look_at_fixture()
        try:
            self._stable_publisher.follow(overview.stable)
        except (OSError, UnusableModel) as error:
            return replace(overview, problems=(*overview.problems, error))
        return overview

    def save(self) -> Overview:
        """Save the state: that needs the right to the directory, whatever else is wrong in it."""
        self._store.claim()
        self._state_writer.save()
        return self._store.overview

    def export(self) -> Overview:
        """Make a candidate of the trainer's newest weights, judge it, publish it, and bring the directory in line.

        Once it is published the job has done its work: what is wrong in the directory then is among the problems.
        """
        base, snapshot, before, control = self._prepared()
        if not self._judge_offer(Slot.FIRST, base, snapshot, before, control):
            candidate = make(base, snapshot)
            verdict = self._verdict(candidate.model, base, before, control)
            self._publish(candidate.onnx, verdict, snapshot.step, snapshot.samples, base)
        return self._after_export()

    def judge_offers(self) -> Overview:
        """Do the same with what comes from elsewhere, whether or not a checkpoint is due."""
        prepared = self._prepared()
        any(self._judge_offer(slot, *prepared) for slot in Slot)  # at most one is published
        return self._after_export()

    def take_outcomes(self) -> list[Outcome]:
        """Return what became of offers since the last call."""
        outcomes = self._offers.outcomes
        return [outcomes.popleft() for _ in range(len(outcomes))]

    def _prepared(self) -> tuple[BaseModel, TrainerSnapshot, Overview, Control]:
        self._store.claim()
        control = self._in_force()
        if control.paused is not None:
            raise NotReady("an operator has paused the sidecar: vmafx-sidecar resume")
        base, snapshot = self._newest()
        return base, snapshot, self._store.in_line(base.digest), control

    def _after_export(self) -> Overview:
        try:
            return self.upkeep()
        except (OSError, TimeoutError) as error:
            return replace(self._store.overview, problems=(error,))

    def _judge_offer(
        self, slot: Slot, base: BaseModel, snapshot: TrainerSnapshot, before: Overview, control: Control
    ) -> bool:
        """Publish a model from elsewhere, if there is one and the gate agrees; return whether.

        What the gate cannot judge yet, or may not, waits, and is never seen by a node.
        """
        offered = self._offers.take(slot, base, before.stable)
        if offered is None:
            return False
        stable, holdout = before.stable, self._sources.holdout(base.digest)
        is_out = stable is not None and stable.sha256 == offered.about.sha256
        if not is_out and control.frozen is not None:
            self._offers.wait(offered, "an operator has frozen what is stable")
            return False
        if stable is None or not is_out:
            verdict = self._verdict(offered.model, base, before, control, MARGIN)
            if verdict.state == "unproven":
                self._offers.wait(offered, verdict.reason)
                return False
            if verdict.state == "unstable":
                self._offers.refuse(offered, verdict)
                return False
            stable = self._publish(offered.onnx, verdict, 0, snapshot.samples, base, offered.origin)
        start = slot is Slot.FIRST or may_go_on_from(offered.model, snapshot, base, holdout)
        self._offers.settle(offered, stable, base, start=start)
        return not is_out

    def _verdict(
        self, candidate: OnnxModel, base: BaseModel, before: Overview, control: Control, margin: float = 0.0
    ) -> Verdict:
        holdout, names = self._sources.holdout(base.digest), self._sources.known_names()
        return self._gate_inputs.verdict(
            candidate, base, before.stable, holdout, before.incomparable, control, names, margin
        )

    def _publish(
        self, onnx: bytes, verdict: Verdict, step: int, samples: int, base: BaseModel, origin: str = ""
    ) -> Checkpoint:
        made = self._store.publish(
            onnx,
            verdict,
            step=step,
            samples=samples,
            base=(base.name, base.digest),
            taken=self._taken(base),
            origin=origin,
        )
        self._log.info("published", version=made.version, state=made.state, reason=made.reason, step=made.step)
        return made

    def _taken(self, base: BaseModel) -> Features | None:
        """Return what the base model says that it takes; None where it says nothing, or its file says it no more."""
        try:
            taken = taken_by_base(base_path(self._settings), base.n_features)
        except UnusableModel as error:
            self._log.warning("feature_names_unknown", reason=str(error))
            return None
        return taken if taken.named else None

    def _in_force(self) -> Control:
        """Return what operators have ordered. Raises ControlError or OSError where that cannot be known."""
        if self._orders is None:
            self._orders = Orders(self._settings)
        self._orders.refresh()
        return self._orders.control

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
