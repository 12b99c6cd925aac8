"""A real sidecar in a directory of its own, for a benchmark to drive."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from pipeline import config
from pipeline.config import Settings
from pipeline.demo import sidecar as demo
from pipeline.runtime import regions
from pipeline.runtime.reports import Board

_START_S, _SETTLE_S = 30.0, 60.0


@dataclass(frozen=True)
class Sidecar:
    """A running sidecar."""

    settings: Settings
    board: Board

    @property
    def socket(self) -> str:
        """Path of its socket."""
        return str(self.settings.socket)

    def pids(self) -> dict[str, int]:
        """Return the process ids by role."""
        board = self.board
        return {
            "ingest": board.ingest().pid,
            "trainer": board.trainer().pid,
            "exporter": board.exporter().pid,
            "monitor": board.monitor().pid,
        }

    def reconciled(self) -> int:
        """Wait until everything sent has been taken and learned; return the number of samples ever accepted."""
        until = time.monotonic() + _SETTLE_S
        while time.monotonic() < until:
            before = self.board.ingest().accepted
            time.sleep(0.12)
            if self.board.ingest().accepted == before and self.board.trainer().cursor >= before:
                return before
        raise RuntimeError("the trainer has not caught up")

    def processes(self) -> list[psutil.Process]:
        """Return all of its processes, supervisor first."""
        head = psutil.Process(self.board.ingest().pid).parent()
        assert head is not None, "ingest has no supervisor"
        return [head, *head.children(recursive=True)]

    def processor_seconds(self) -> float:
        """Return the processor time that all of its processes have taken so far."""
        return sum(sum(process.cpu_times()[:2]) for process in self.processes())


@contextlib.contextmanager
def running(n_features: int = 6, **variables: str) -> Iterator[Sidecar]:
    """Start a sidecar with `variables` (names without their VMAFX_SIDECAR_ prefix), stop it and clean up at the end."""
    with tempfile.TemporaryDirectory(prefix="vmafx-bench-") as directory:
        environment = environment_in(Path(directory), n_features, variables)
        settings = config.load(environment)
        with demo.Sidecar(environment, Path(directory) / "log") as process:
            yield Sidecar(settings, _wait_until_running(settings, process))


def environment_in(directory: Path, n_features: int, variables: dict[str, str]) -> dict[str, str]:
    """Return the environment of a sidecar that has everything in `directory`."""
    checkpoints = directory / "checkpoints"
    checkpoints.mkdir()
    return dict(os.environ) | {
        "VMAFX_SIDECAR_SOCKET": str(directory / "sidecar.sock"),
        "VMAFX_SIDECAR_CHECKPOINT_DIR": str(checkpoints),
        "VMAFX_SIDECAR_N_FEATURES": str(n_features),
        "VMAFX_SIDECAR_HTTP": "off",
        **{name if name.startswith("VMAFX_") else f"VMAFX_SIDECAR_{name}": value for name, value in variables.items()},
    }


def _wait_until_running(settings: Settings, process: demo.Sidecar) -> Board:
    until = time.monotonic() + _START_S
    while time.monotonic() < until:
        process.check()
        with contextlib.suppress(Exception):
            board = regions.attach_board(settings.instance_name)
            if board.ingest().phase == "accepting" and board.trainer().phase == "running":
                return board
        time.sleep(0.02)
    raise RuntimeError(f"the sidecar did not start within {_START_S:g} s")
