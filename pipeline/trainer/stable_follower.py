"""Tells the training the weights of the last stable checkpoint, which the exporter publishes."""

from __future__ import annotations

import msgspec

from pipeline.runtime import messages, regions
from pipeline.runtime.process import Process
from pipeline.runtime.reports import TrainerReport
from pipeline.shm.mailbox import Mailbox, Torn, Versioned
from pipeline.shm.segment import Segment, SegmentError
from pipeline.trainer.online import OnlineTraining


class StableFollower:
    """Follows the region `stable`, also where its writer replaces it. Those of another base model are none."""

    def __init__(self, process: Process[TrainerReport]) -> None:
        self._process = process
        self._attached: tuple[Mailbox, Segment] | None = None
        self._version = 0

    def follow(self, training: OnlineTraining) -> None:
        """Tell `training` of newer stable weights, or that there are none any more."""
        newest = self._newer()
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

    def _newer(self) -> Versioned | None:
        if self._attached is None or not self._attached[1].is_current():
            self._version = 0
            try:
                self._attached = regions.attach_mailbox(self._process.settings, "stable")
            except SegmentError:
                self._attached = None
                return None
        box = self._attached[0]
        if box.version == self._version:
            return None
        try:
            newest = box.read()
        except Torn:
            return None
        self._version = newest.version if newest is not None else 0
        return newest
