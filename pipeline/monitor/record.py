"""What the page shows of the past: evaluations and checkpoints, in memory, so that no request waits for a disk."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from typing import get_args

from pipeline.checkpoints.checkpoint import Checkpoint, State
from pipeline.monitor.history import CHECKPOINT_LIMIT, FIGURES, LIMIT, Evaluation, thinned
from pipeline.runtime.health import Health

STATES: tuple[str, ...] = get_args(State)
"""The gate's verdicts."""

_INTERVAL_S = 2.0


class Record:
    """The recent past. The event loop takes samples, the archive adds what is on disk, any thread reads.

    checkpoints       by version, as last read from their sidecars; replaced as a whole
    verdicts          how many were published in this life of the monitor, by the gate's verdict
    free, size        bytes of the checkpoint directory's file system; None before the first look
    """

    def __init__(self) -> None:
        self.evaluations: list[Evaluation] = []
        self.checkpoints: dict[int, Checkpoint] = {}
        self.verdicts = dict.fromkeys(STATES, 0)
        self.free: int | None = None
        self.size: int | None = None
        self._newest: int | None = None
        self._unsaved: deque[Evaluation] = deque(maxlen=LIMIT)
        self._lock = threading.Lock()
        self._generation = time.time_ns()
        self._sampled_at = -math.inf
        self._progress = (0, 0)

    def sample(self, health: Health) -> None:
        """Record where training is, if it has advanced and the last record is old enough."""
        progress = (health.trainer.cursor, health.trainer.step)
        now = time.monotonic()
        if progress in (self._progress, (0, 0)) or now - self._sampled_at < _INTERVAL_S:
            return
        self._progress, self._sampled_at = progress, now
        evaluation = _evaluation(health)
        self._unsaved.append(evaluation)
        self._extend([], [evaluation])

    def prepend(self, earlier: list[Evaluation]) -> None:
        """Put the evaluations of earlier lives in front."""
        self._extend(earlier, [])

    def _extend(self, before: list[Evaluation], after: list[Evaluation]) -> None:
        with self._lock:
            extended = [*before, *self.evaluations, *after]
            kept = thinned(extended)
            if before or len(kept) < len(extended):
                self._generation = time.time_ns()
            self.evaluations = kept

    def put_checkpoints(self, checkpoints: dict[int, Checkpoint]) -> None:
        """Take in checkpoints, replacing those of the same version; later than the newest known is newly published."""
        if self._newest is not None:
            for version, each in checkpoints.items():
                self.verdicts[each.state] += version > self._newest
        self._newest = max([self._newest or 0, *checkpoints])
        merged = sorted((self.checkpoints | checkpoints).items())
        self.checkpoints = dict(merged[-CHECKPOINT_LIMIT:])

    def take_unsaved(self) -> list[Evaluation]:
        """Return the evaluations that are not on disk yet; they then count as saved."""
        return [self._unsaved.popleft() for _ in range(len(self._unsaved))]

    def return_unsaved(self, evaluations: list[Evaluation]) -> None:
        """Take back evaluations that could not be saved."""
        self._unsaved.extendleft(reversed(evaluations))

    def since(self, token: str) -> tuple[str, bool, list[Evaluation]]:
        """Return a token for the next call, whether the rows replace those known before, and the rows.

        `token` is what the last call returned; anything else gets all rows.
        """
        with self._lock:
            generation, evaluations = str(self._generation), self.evaluations
        of, _, count = token.partition(".")
        known = int(count) if of == generation and count.isdecimal() else 0
        return f"{generation}.{len(evaluations)}", known == 0, evaluations[known:]


def _evaluation(health: Health) -> Evaluation:
    trainer, ingest = health.trainer, health.ingest
    figures = (trainer.metrics.get(name) for name in FIGURES)
    return (
        round(time.time(), 1),
        ingest.accepted,
        trainer.step,
        trainer.lag,
        min(ingest.accepted, ingest.capacity),
        _rounded(trainer.loss),
        *map(_rounded, figures),
    )


def _rounded(figure: float | None) -> float | None:
    return None if figure is None or not math.isfinite(figure) else float(f"{figure:.6g}")
