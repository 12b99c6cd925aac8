"""Tells the training the weights of the last stable checkpoint, which the exporter publishes."""

from __future__ import annotations

import msgspec

from pipeline.runtime import messages, regions
from pipeline.runtime.process import Process
from pipeline.runtime.reports import TrainerReport
from pipeline.trainer.online import OnlineTraining


class StableFollower:
    """Follows the region `stable`, also where its writer replaces it. Those of another base model are none."""

    def __init__(self, process: Process[TrainerReport]) -> None:
        self._process = process
        self._mailbox = regions.MailboxFollower(process.settings, "stable")

    def follow(self, training: OnlineTraining) -> None:
        """Tell `training` of newer stable weights, or that there are none any more."""
        newest = self._mailbox.newer()
        if newest is None:
            return
        try:
            weights = messages.decode_stable(newest.payload)
        except msgspec.MsgspecError:  # of another release of this program
            return
        if not weights.checkpoint or weights.base_digest != self._process.report.base_digest:
            training.forget_stable()
            return
        training.set_stable(weights.vector())
        report = self._process.report
        if report.base_before:
            report.base_before = ""
            self._process.phase(report.phase)
