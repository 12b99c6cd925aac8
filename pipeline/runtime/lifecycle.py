"""How a process of the sidecar starts and ends: exit codes, the stop flag, the crash backoff."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from enum import IntEnum
from types import FrameType

from pipeline.runtime.reports import Report


class ExitCode(IntEnum):
    """Documented exit codes; those from 64 on follow sysexits.h."""

    OK = 0
    FAILED = 1
    USAGE = 2
    BASE_MODEL_UNUSABLE = 65
    BEYOND_RESTART = 70
    NO_SHARED_MEMORY = 71
    ALREADY_RUNNING = 73
    LAST_SAVE_FAILED = 74
    BAD_SETTINGS = 78


FINAL = frozenset(
    {ExitCode.BASE_MODEL_UNUSABLE, ExitCode.NO_SHARED_MEMORY, ExitCode.ALREADY_RUNNING, ExitCode.BAD_SETTINGS}
)
"""The codes of a process for which another start would end the same way: the whole sidecar ends with them."""


PREDECESSOR_WAIT_S = 10.0
"""How long a start waits for a predecessor that is still on its way out, in seconds."""


class Ending(Exception):
    """The process cannot go on; carries the one line to show and the exit code."""

    def __init__(self, code: ExitCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class StopFlag:
    """Set by SIGTERM or SIGINT; loops look at it and act. Further signals may be bound to callbacks that set flags."""

    def __init__(self) -> None:
        self.is_set = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.is_set = True

    def __bool__(self) -> bool:
        return self.is_set

    def wait(self, seconds: float) -> bool:
        """Sleep up to `seconds`, less if the flag is set meanwhile; return whether it is set."""
        until = time.monotonic() + seconds
        while not self.is_set and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.1))
        return self.is_set


# A life shorter than this counts as a crash at start.
SHORT_LIFE_S = 5.0
LONGEST_BACKOFF_S = 30.0


def crash_backoff_seconds(previous: Report) -> tuple[int, float]:
    """Return how many short lives there have been in a row, and how long to wait before the next attempt, in seconds.

    The supervisor restarts at once; a process that keeps dying soon after its start waits 0, 0, 1, 2, 4, … up to 30 s,
    so that it neither takes all of a core nor is given up.
    """
    lived = previous.heartbeat - previous.started
    if previous.pid == 0 or previous.phase == "stopped" or lived >= SHORT_LIFE_S:
        return 0, 0.0
    short_lives = previous.short_lives + 1
    return short_lives, 0.0 if short_lives < 3 else min(LONGEST_BACKOFF_S, 2.0 ** (short_lives - 3))


def crash_backoff(report: Report, previous: Report, stop: StopFlag, publish: Callable[[], None]) -> None:
    """Wait as `crash_backoff_seconds` says, showing phase `crash backoff` meanwhile."""
    report.short_lives, seconds = crash_backoff_seconds(previous)
    if seconds:
        report.phase = "crash backoff"
        until = time.monotonic() + seconds
        while not stop.wait(min(1.0, max(0.0, until - time.monotonic()))) and time.monotonic() < until:
            publish()
        # The wait does not count as running time at the next start.
        report.started = time.monotonic()
    report.phase = "starting"
    publish()
