"""A sidecar in a process of its own, started as an operator starts it, and ended whatever happens to us."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import psutil

COMMAND = (sys.executable, "-m", "pipeline")
GRACE_S = 30.0

_PR_SET_PDEATHSIG = 1
_prctl = ctypes.CDLL(None).prctl


class SidecarEndedError(Exception):
    """The sidecar ended by itself; the message holds its exit code and its last words."""


class Sidecar:
    """``vmafx-sidecar run``, or another command, with these settings on top of the environment, its output in ``log``.

    It has its own session, so that Ctrl-C reaches only us, and gets SIGTERM from the kernel should we be killed.
    """

    def __init__(self, settings: Mapping[str, str], log: Path, command: tuple[str, ...] = ("run",)) -> None:
        self._log, self._command = log, command
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("VMAFX_")}
        self._environment.update(settings)

    def __enter__(self) -> Self:
        self._log.unlink(missing_ok=True)
        with self._log.open("ab") as output:  # several processes write to it
            self._process = subprocess.Popen(
                [*COMMAND, *self._command],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        subprocess.run([*COMMAND, "clean"], env=self._environment, capture_output=True, check=False)

    def check(self) -> None:
        """Raise `SidecarEndedError` where the sidecar is gone."""
        code = self._process.poll()
        if code is not None:
            raise SidecarEndedError(
                f"the sidecar ended with code {code}: {self._last_line()} (all of it in {self._log})"
            )

    def _stop(self) -> None:
        family = self._family()
        self._process.terminate()
        _, survivors = psutil.wait_procs(family, timeout=GRACE_S)
        for process in survivors:
            process.kill()
        self._process.wait()

    def _family(self) -> list[psutil.Process]:
        try:
            head = psutil.Process(self._process.pid)
            return [head, *head.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def _last_line(self) -> str:
        lines = self._log.read_text(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "no output")


def _end_with_parent() -> None:
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
