"""What the sidecar's processes have in common: settings, stop flag, report, log, and how errors become exit codes."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, Protocol

from pipeline import config
from pipeline.config import ConfigError, Settings
from pipeline.runtime import logs, regions, restore
from pipeline.runtime.journal import open_journals
from pipeline.runtime.lifecycle import PREDECESSOR_WAIT_S, Ending, ExitCode, StopFlag, crash_backoff
from pipeline.runtime.logs import Logger
from pipeline.runtime.reports import Board, R, Reporter
from pipeline.shm.bell import Bell
from pipeline.shm.segment import Segment, SharedMemoryUnusable, take_lock

# So many characters of a problem fit into a report; an operator's reason, or an error's text, may have any number.
_LONGEST = 2000
# How often a process that has nothing to do reports, in seconds.
_TICK_S = 1.0


class Named(Protocol):
    """What other processes find by a name, which may be removed: a region, a bell, a socket."""

    @property
    def name(self) -> str:
        """Return the name."""
        ...

    def is_current(self) -> bool:
        """Whether the name still leads here."""
        ...


class Lost(Exception):
    """Others no longer find what a process owns, so it must restart. The message says what."""


@dataclass
class Process(Generic[R]):
    """A running process's surroundings."""

    settings: Settings
    stop: StopFlag
    board: Board
    reporter: Reporter[R]
    log: Logger
    saved: restore.Saved
    bell: Bell
    _owned: list[Named] = field(default_factory=list)
    _looked_at: float = 0.0

    @property
    def report(self) -> R:
        """This process's own report."""
        return self.reporter.report

    def phase(self, phase: str, problem: str = "") -> None:
        """Report a phase, with what is wrong, at once; log it where it is new."""
        problem = problem[:_LONGEST]
        if (phase, problem) != (self.report.phase, self.report.problem):
            self.log.info("phase", phase=phase, **({"problem": problem} if problem else {}))
        self.report.phase, self.report.problem = phase, problem
        self.reporter.publish()

    def show(self, phase: str, *problems: str) -> None:
        """Report a phase, with whatever of `problems` there is, where one of them is new; a beat in any case."""
        problem = "; ".join(filter(None, problems))[:_LONGEST]
        if (phase, problem) != (self.report.phase, self.report.problem):
            self.phase(phase, problem)
        self.reporter.beat()

    @property
    def tick(self) -> float:
        """How long to wait at most, in seconds, so that neither a look at what is owned nor a heartbeat comes late."""
        return min(_TICK_S, self.settings.hang_s / 4)

    def wait(self, seconds: float | None = None, unless: Callable[[], bool] = lambda: False) -> None:
        """Wait for a ring or a signal, at most `seconds` (default, and the most: a tick); not if `unless()` holds."""
        self.bell.wait(self.tick if seconds is None else min(seconds, self.tick), lambda: bool(self.stop) or unless())

    def own(self, *named: Named) -> None:
        """Let `look_after` check these, too."""
        self._owned.extend(named)

    def look_after(self) -> None:
        """Check once per tick that others still find what this process owns. Raises Lost.

        The content of a lost region is put back first, so that the next start finds it.
        """
        now = time.monotonic()
        if now - self._looked_at < self.tick:
            return
        self._looked_at = now
        lost = [each for each in self._owned if not each.is_current()]
        for each in lost:
            if isinstance(each, Segment):
                each.put_back()
        if lost:
            raise Lost(", ".join(each.name for each in lost) + ": removed or replaced by another program")

    def should_stop(self) -> bool:
        """Whether to end: a signal said so, or the supervisor that started this process is gone."""
        return bool(self.stop) or (os.getppid() != _PARENT and "SUPERVISOR_ENABLED" in os.environ)


_PARENT = os.getppid()


def main(role: str, kind: type[R], serve: Callable[[Process[R]], None]) -> int:
    """Run `serve` as the process of `role`; return the exit code."""
    stop = StopFlag()
    try:
        settings = config.load()
    except ConfigError as error:
        sys.stderr.writelines(f"vmafx-sidecar {role}: {problem}\n" for problem in error.problems)
        return ExitCode.BAD_SETTINGS
    logs.configure(settings)
    log = logs.get(role)
    try:
        if role != "monitor":
            _wait_while_still(settings, stop)
        lock = _claim(settings, role)
        board = regions.open_board(settings)
        bell = regions.bell(settings, board, role)
        signal.set_wakeup_fd(bell.fd, warn_on_full_buffer=False)
        logs.configure(settings, open_journals(settings).writer(role))
    except (Ending, SharedMemoryUnusable) as error:
        log.error("ending", reason=str(error))
        return error.code if isinstance(error, Ending) else ExitCode.NO_SHARED_MEMORY
    log = logs.get(role)
    saved = restore.Saved(settings, log)
    restore.fill_report(board, role, saved)
    reporter = Reporter(board, role, kind)
    crash_backoff(reporter.report, reporter.previous, stop, reporter.publish)
    process = Process(settings, stop, board, reporter, log, saved, bell)
    process.own(board.segment, bell)
    code = _serve(process, serve)
    os.close(lock)
    return code


def _serve(process: Process[R], serve: Callable[[Process[R]], None]) -> ExitCode:
    try:
        serve(process)
    except (Ending, SharedMemoryUnusable) as error:
        code = error.code if isinstance(error, Ending) else ExitCode.NO_SHARED_MEMORY
        if process.should_stop() and code != ExitCode.LAST_SAVE_FAILED:
            process.phase("stopped")  # a process that is told to end need not have started
            return ExitCode.OK
        process.log.error("ending", reason=str(error), code=int(code))
        process.report.phase, process.report.problem = "failed", str(error)[:_LONGEST]
        process.reporter.publish()
        return code
    except Lost as error:
        process.log.error("lost", reason=str(error))
        process.phase("crashed", str(error))
        return ExitCode.FAILED
    except Exception as error:
        process.log.exception("crashed")
        process.phase("crashed", f"{type(error).__name__}: {error}")
        return ExitCode.FAILED
    process.phase("stopped")
    return ExitCode.OK


def _wait_while_still(settings: Settings, stop: StopFlag) -> None:
    """Wait while a command has what the processes own to itself."""
    while not stop:
        with suppress(BlockingIOError):
            os.close(take_lock(regions.still_lock(settings.instance_name)))
            return
        stop.wait(0.05)


def _claim(settings: Settings, role: str) -> int:
    """Take the lock that makes this process the only one of its role; it goes with the process however that ends."""
    try:
        return take_lock(regions.role_lock(settings.instance_name, role), PREDECESSOR_WAIT_S)
    except BlockingIOError:
        raise Ending(
            ExitCode.ALREADY_RUNNING, f"another {role} of instance {settings.instance_name} is running"
        ) from None
