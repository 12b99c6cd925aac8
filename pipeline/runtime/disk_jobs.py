"""Work that may wait for a disk: done in a thread, and tried again after a while where it fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

SLOW_S = 2.0
"""A job that runs longer than this waits for a disk, in seconds."""

HUNG_S = 15.0
"""One that runs longer than this keeps the sidecar from its work, in seconds."""

FINISH_S = 8.0
"""How long the last jobs of a process may take, in seconds: less than the supervisor waits before it kills."""

T = TypeVar("T")


class JobThread(Generic[T]):
    """Runs one job at a time in a thread that does not keep the process alive, and calls `when_done` after each."""

    def __init__(self, when_done: Callable[[], None] = lambda: None) -> None:
        self._when_done = when_done
        self._busy = False
        self._started = 0.0
        self._outcome: T | BaseException | None = None

    @property
    def busy(self) -> bool:
        """Whether a job runs."""
        return self._busy

    @property
    def busy_seconds(self) -> float:
        """For how long the current job has been running."""
        return time.monotonic() - self._started if self.busy else 0.0

    def start(self, job: Callable[[], T]) -> None:
        """Run `job`, which returns a result; only when not busy."""
        self._busy, self._started = True, time.monotonic()
        threading.Thread(target=self._run, args=(job,), name="disk", daemon=True).start()

    def result(self) -> T | None:
        """Return the result of a job that has ended, once; raise what it raised. None while there is none."""
        if self.busy or self._outcome is None:
            return None
        outcome, self._outcome = self._outcome, None
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def _run(self, job: Callable[[], T]) -> None:
        try:
            self._outcome = job()
        except BaseException as error:
            self._outcome = error
        self._busy = False
        self._when_done()


class BackOff:
    """How long to wait after a failure: 1, 2, 4, … 60 seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._until = 0.0

    def failed(self) -> None:
        """Wait longer than the last time."""
        self._until = self._clock() + min(60.0, 2.0**self._failures)
        self._failures += 1

    def succeeded(self) -> None:
        """Start over."""
        self._failures, self._until = 0, 0.0

    @property
    def seconds(self) -> float:
        """Seconds until it may be tried again; not above 0 where it may."""
        return self._until - self._clock()
