"""When the next checkpoint is due."""

import math
import time
from collections.abc import Callable
from datetime import datetime

from pipeline.checkpoints.checkpoint import Checkpoint


class Schedule:
    """Due when both enough time has passed and enough samples have come since the last checkpoint.

    While the process runs, the monotonic clock counts, so that a change of the system clock has no effect; at the start
    the age of the last checkpoint comes from its own file.
    """

    def __init__(self, interval_s: float, min_samples: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval_s = interval_s
        self._min_samples = min_samples
        self._clock = clock
        self._since = clock()
        self._version = 0
        self._samples = 0

    def follow(self, last: Checkpoint) -> None:
        """Count from `last` on, the newest checkpoint there is."""
        if last.version != self._version:
            age = time.time() - datetime.fromisoformat(last.created).timestamp()
            self._since = self._clock() - max(0.0, age)
            self._version, self._samples = last.version, last.samples

    def due_in(self, samples: int, *, restored: int = 0, start: int = 0) -> float:
        """Seconds until a checkpoint is due, not above 0 where it is; infinite while samples are missing.

        `samples` is the number that the trainer has taken in so far. Of these, `restored` were in the ring when it was
        made. Those before `start` are of another base model.
        """
        # Fewer than at the last checkpoint: shared memory was lost, and what came since the ring was made is new.
        counted = self._samples if samples >= self._samples else restored
        new = samples - max(counted, start)
        return self._since + self._interval_s - self._clock() if new >= self._min_samples else math.inf
