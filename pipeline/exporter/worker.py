"""One thread for everything that may wait for a disk, so that the process can still report and be stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Worker(Generic[T]):
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
