"""When the whole sidecar ends by itself, and with which code: decided where every process's own exit code is seen.

supervisord's events do not carry exit codes, and it forgets that of a process that dies within a second of its start.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from supervisor.options import ServerOptions

from pipeline.runtime.health import PIPELINE
from pipeline.runtime.lifecycle import FINAL, ExitCode

SAVING = frozenset({"exporter", "archive"})
"""The roles that write to disk when they are told to end."""

# Shared memory that is too small at the start stays so; what is filled up later may become free again.
_START_S = 60.0


class Outcome:
    """The sidecar's exit code, `code`, from how its processes end. The first reason to end is the one that counts."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self.code = ExitCode.OK

    def ended(self, role: str, code: int, *, stopping: bool) -> bool:
        """Take in that `role` ended with `code`, negative for a signal; return whether that is why the sidecar ends."""
        if role not in {*PIPELINE, *SAVING} or self.code:
            return False
        if stopping:
            # Nothing else is an error in what was told to end.
            if role in SAVING and code in {ExitCode.LAST_SAVE_FAILED, -signal.SIGKILL}:
                self.code = ExitCode.LAST_SAVE_FAILED
            return bool(self.code)
        if role not in PIPELINE:
            return False
        too_late = code == ExitCode.NO_SHARED_MEMORY and time.monotonic() - self._started > _START_S
        if code in FINAL and not too_late:
            self.code = ExitCode(code)
        return bool(self.code)

    def given_up(self, role: str, *, stopping: bool) -> bool:
        """Take in that supervisord starts `role` no more; return whether that is why the sidecar ends."""
        if role in PIPELINE and not (self.code or stopping):
            self.code = ExitCode.BEYOND_RESTART
            return True
        return False


class Options(ServerOptions):  # type: ignore[misc]  # untyped
    """supervisord's options, which tell how each child ended."""

    on_end: Callable[[str, int], None]

    def waitpid(self) -> tuple[int | None, int | None]:
        """Reap a child that has ended, if there is one; return its pid and wait status."""
        pid, status = super().waitpid()
        process = self.pidhistory.get(pid)
        if process is not None:
            self.on_end(process.config.name, os.waitstatus_to_exitcode(status))
        return pid, status
