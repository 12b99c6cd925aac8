"""What the sidecar's processes have in common: settings, stop flag, report, log, and how errors become exit codes."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic

from structlog.typing import FilteringBoundLogger

from pipeline import config, logs, regions
from pipeline.config import ConfigError, Settings
from pipeline.journal import open_journals
from pipeline.lifecycle import Ending, ExitCode, StopFlag, hold_back
from pipeline.shm.segment import SharedMemoryUnusable, take_lock
from pipeline.state import resume
from pipeline.telemetry import Board, R, Reporter

# How long a starting process waits for a predecessor that is still on its way out, in seconds.
_PREDECESSOR_WAIT_S = 10.0


@dataclass(frozen=True)
class Process(Generic[R]):
    """A running process's surroundings."""

    settings: Settings
    stop: StopFlag
    board: Board
    reporter: Reporter[R]
    log: FilteringBoundLogger

    @property
    def report(self) -> R:
        """This process's own report."""
        return self.reporter.report

    def phase(self, phase: str, problem: str = "") -> None:
        """Report a phase, with what is wrong, at once; log it where it is new."""
        if (phase, problem) != (self.report.phase, self.report.problem):
            self.log.info("phase", phase=phase, **({"problem": problem} if problem else {}))
        self.report.phase, self.report.problem = phase, problem
        self.reporter.publish()

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
        lock = _claim(settings, role)
        board = regions.open_board(settings)
        logs.configure(settings, open_journals(settings).writer(role))
    except (Ending, SharedMemoryUnusable) as error:
        log.error("ending", reason=str(error))
        return error.code if isinstance(error, Ending) else ExitCode.NO_SHARED_MEMORY
    log = logs.get(role)
    if not board.box(role).version:
        resume.fill_report(board, role, resume.load(settings, log))
    reporter = Reporter(board, role, kind)
    hold_back(reporter.report, reporter.previous, stop, reporter.publish)
    code = _serve(Process(settings, stop, board, reporter, log), serve)
    os.close(lock)
    return code


def _serve(process: Process[R], serve: Callable[[Process[R]], None]) -> ExitCode:
    try:
        serve(process)
    except (Ending, SharedMemoryUnusable) as error:
        code = error.code if isinstance(error, Ending) else ExitCode.NO_SHARED_MEMORY
        if process.should_stop() and code != ExitCode.LAST_SAVE_FAILED:
            process.phase("stopped")  # what could not be begun is no fault of a process that is told to end
            return ExitCode.OK
        process.log.error("ending", reason=str(error), code=int(code))
        process.report.phase, process.report.problem = "failed", str(error)
        process.reporter.publish()
        return code
    except Exception as error:
        process.log.exception("crashed")
        process.phase("crashed", f"{type(error).__name__}: {error}")
        return ExitCode.FAILED
    process.phase("stopped")
    return ExitCode.OK


def _claim(settings: Settings, role: str) -> int:
    """Take the lock that makes this process the only one of its role; it goes with the process however that ends."""
    until = time.monotonic() + _PREDECESSOR_WAIT_S
    while True:
        try:
            return take_lock(regions.role_lock(settings.instance_name, role))
        except BlockingIOError:
            if time.monotonic() > until:
                raise Ending(
                    ExitCode.ALREADY_RUNNING, f"another {role} of instance {settings.instance_name} is running"
                ) from None
            time.sleep(0.05)
