"""Keeps the training informed of the last stable checkpoint's weights, which the exporter publishes."""

from __future__ import annotations

from pipeline import handoff, regions
from pipeline.process import Process
from pipeline.shm.mailbox import Mailbox, Torn
from pipeline.shm.segment import SegmentError
from pipeline.telemetry import TrainerReport
from pipeline.trainer.online import OnlineTraining


class StableWeights:
    """Follows the region `stable`."""

    def __init__(self, process: Process[TrainerReport]) -> None:
        self._process = process
        self._box: Mailbox | None = None
        self._version = 0

    def follow(self, training: OnlineTraining) -> None:
        """Hand newer stable weights to `training`, where there are any of the same base model."""
        if self._box is None:
            try:
                self._box, _ = regions.attach_mailbox(self._process.settings, "stable")
            except SegmentError:
                return
        if self._box.version == self._version:
            return
        try:
            letter = self._box.read()
        except Torn:
            return
        if letter is None:
            return
        self._version = letter.version
        weights = handoff.decode_stable(letter.payload)
        if not weights.checkpoint:
            training.forget_stable()
        elif weights.base_digest == self._process.report.base_digest:
            training.set_stable(weights.vector())
