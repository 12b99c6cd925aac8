"""Has the training follow what operators have ordered: reset, quarantine, pause."""

from __future__ import annotations

import numpy as np

from pipeline.model.graph import BaseModel
from pipeline.runtime.control import ControlError, Orders, Quarantine, Reset, exclusions
from pipeline.runtime.process import Process
from pipeline.runtime.reports import TrainerReport
from pipeline.trainer.online import OnlineTraining
from pipeline.trainer.resume import base_note
from pipeline.trainer.snapshot_publisher import SnapshotPublisher

_TRY_AGAIN_S = 1.0
# What fits into a report.
_MOST, _LONGEST = 30, 300


def open_orders(process: Process[TrainerReport]) -> Orders | None:
    """Return what is in force, waiting for as long as it cannot be known; None when told to stop first."""
    while not process.should_stop():
        try:
            return Orders(process.settings)
        except (ControlError, OSError) as error:
            process.phase("initializing", f"operators' orders cannot be read: {error}")
            process.wait(_TRY_AGAIN_S)
    return None


class Obedience:
    """Carries out the orders of `orders` on a training of `base`."""

    def __init__(
        self,
        process: Process[TrainerReport],
        orders: Orders,
        base: BaseModel,
        training: OnlineTraining,
        publisher: SnapshotPublisher,
    ) -> None:
        self._process, self._orders, self._base = process, orders, base
        self._training, self._publisher = training, publisher
        self._quarantines: tuple[Quarantine, ...] = ()
        self._carry_out()

    @property
    def paused(self) -> str:
        """Who has paused the training, when and why; empty where nobody has."""
        return self._orders.control.lines()[0] if self._orders.control.paused is not None else ""

    def show(self) -> None:
        """Report the phase that follows."""
        if self.paused:
            self._process.phase("paused", self.paused)
        else:
            self._process.phase("running", base_note(self._process.report))

    @property
    def is_news(self) -> bool:
        """Whether there is something that has not been carried out."""
        return self._orders.is_news

    def follow(self) -> None:
        """Carry out what is new."""
        if self._orders.refresh():
            self._carry_out()
            self.show()

    def _carry_out(self) -> None:
        control, report = self._orders.control, self._process.report
        if control.quarantines != self._quarantines:
            self._quarantines = control.quarantines
            left = self._training.exclude(exclusions(control))
            self._process.log.warning("quarantine", rules=len(control.quarantines), rows_removed=left)
        if control.reset is not None and control.reset.number > self._training.resets:
            self._reset(control.reset)
        report.orders = [line[:_LONGEST] for line in control.lines()[:_MOST]]
        report.orders_in_force = control.counts()
        self._publisher.publish(anew=True)

    def _reset(self, reset: Reset) -> None:
        self._training.resets = reset.number
        if reset.base_digest not in {"", self._base.digest}:
            self._process.log.error("reset_ignored", reason="it was of another base model", number=reset.number)
            return
        vector = self._base.vector() if reset.to == "base" else np.frombuffer(self._orders.weights, np.float32)
        if len(vector) != self._base.n_parameters:
            self._process.log.error("reset_ignored", reason=f"{len(vector)} weights", number=reset.number)
            return
        self._training.reset_to(vector, forget_samples=reset.forget_samples)
        self._process.log.warning("reset", to=reset.to, samples="forgotten" if reset.forget_samples else "kept")
