"""How the answer to an accepted message begins: the trainer's step and loss, and news of a checkpoint."""

from __future__ import annotations

import math
import time
from pathlib import Path

from pipeline.protocol import accepted_prefix
from pipeline.runtime.reports import Board, ExporterReport, Follower, TrainerReport

# A trainer whose report is older than this is not at work, in seconds.
_FRESH_S = 5.0


class AnswerPrefix:
    """Keeps the beginning of the answers up to date with what trainer and exporter report.

    `plain` begins an accepted answer; `checkpoint` is the path that every connection is to be told of once, empty
    where there is none. It lies in `directory`: another one is what a sidecar with other settings reported.
    """

    def __init__(self, board: Board, directory: Path) -> None:
        self._directory = directory
        self._trainer = Follower(board, "trainer", TrainerReport)
        self._exporter = Follower(board, "exporter", ExporterReport)
        self._trained = False
        self.checkpoint = ""
        self.plain = b""
        self.refresh()
        self.plain = self._prefix()

    def moment(self) -> tuple[int, int]:
        """Return the trainer's step and the version of the stable checkpoint, 0 for none, as last reported."""
        return self._trainer.report.step, self._exporter.report.stable_version

    def refresh(self) -> None:
        """Take in newer reports."""
        if self._exporter.refresh():
            announced = self._exporter.report.announced
            self.checkpoint = announced if Path(announced).parent == self._directory else ""
        newer = self._trainer.refresh()
        report = self._trainer.report
        trained = report.step > 0 and time.monotonic() - report.heartbeat < _FRESH_S
        if newer or trained != self._trained:
            self._trained = trained
            self.plain = self._prefix()

    def announce(self, replies: bytes) -> bytes:
        """Return `replies` with the checkpoint in the first accepted answer, if there is one."""
        return replies.replace(self.plain, self._prefix(self.checkpoint), 1) if self.checkpoint else replies

    def _prefix(self, checkpoint: str | None = None) -> bytes:
        report = self._trainer.report
        loss = report.loss if report.loss is not None and math.isfinite(report.loss) else None
        return accepted_prefix(report.step, self._trained, loss, checkpoint)
