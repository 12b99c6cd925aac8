"""A whole sidecar, started as an operator starts it, with handles on each of its processes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import psutil

from pipeline import config
from pipeline.config import Settings
from pipeline.runtime import regions
from pipeline.runtime.health import Health, examine
from pipeline.runtime.reports import Board
from pipeline.shm.ring import Ring
from pipeline.shm.rows import RowBatch
from pipeline.shm.segment import SHM_DIR, SegmentError
from tests.support.client import Client
from tests.support.processes import environment
from tests.support.waiting import PATIENCE_S, eventually

COMMAND = (sys.executable, "-m", "pipeline")
N_FEATURES = 6
SIX = {"VMAFX_SIDECAR_N_FEATURES": str(N_FEATURES)}
PUBLISHING = SIX | {"VMAFX_SIDECAR_CKPT_INTERVAL_S": "1", "VMAFX_SIDECAR_MIN_SAMPLES_CKPT": "50"}
"""Settings for six features and a checkpoint every second."""
QUICK = PUBLISHING | {
    "VMAFX_SIDECAR_STATE_INTERVAL_S": "1",
    "VMAFX_SIDECAR_CPU_SHARE": "0.2",
    "OMP_NUM_THREADS": "1",
}
"""The same, its state saved as often, with little of the processor."""


class Sidecar:
    """`vmafx-sidecar run` in `directory`, with nothing set but where things are and what `settings` say.

    It may be started again after it has ended. Used as a context, nothing of it outlives the block.
    """

    def __init__(self, directory: Path, **settings: str) -> None:
        self.directory = directory
        self.socket = directory / "s.sock"
        self.checkpoints = directory / "models"
        self.checkpoints.mkdir(exist_ok=True)
        self.log_file = directory / "sidecar.log"
        places = {
            "VMAFX_SIDECAR_SOCKET": str(self.socket),
            "VMAFX_SIDECAR_CHECKPOINT_DIR": str(self.checkpoints),
            "VMAFX_SIDECAR_HTTP": "127.0.0.1:0",
        }
        self.environment = environment(**(places | settings))
        self._process: subprocess.Popen[bytes] | None = None
        self._board: Board | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill_all()
        self.lose_memory()

    @property
    def settings(self) -> Settings:
        """Its settings, as its environment gives them."""
        return config.load(self.environment)

    @property
    def instance(self) -> str:
        """The name of what it has in shared memory, also where another setting is bad."""
        names = {"VMAFX_SIDECAR_SOCKET", "VMAFX_SIDECAR_INSTANCE"}
        return config.load({name: self.environment[name] for name in names & set(self.environment)}).instance_name

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        """The process that was launched last."""
        assert self._process is not None, "it was never launched"
        return self._process

    def start(self) -> None:
        """Start it and wait until all three processes are at work."""
        self.launch()
        self.wait_for(self.is_well)

    def launch(self) -> "subprocess.Popen[bytes]":
        """Start it without waiting."""
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self.run_command(), env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
        return self._process

    def run_command(self) -> list[str]:
        """Return the command that `launch` runs."""
        return [*COMMAND, "run"]

    def command(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of an operator's for this sidecar."""
        given = [*COMMAND, *arguments, "--socket", str(self.socket)]
        return subprocess.run(given, env=self.environment, capture_output=True, text=True, check=False)

    def is_well(self) -> bool:
        """Whether all three processes are at work; fails where the sidecar has ended."""
        assert self.process.poll() is None, f"it has ended\n{self.log()}"
        health = self.health()
        return health is not None and health.healthy and health.ready and health.exporter.phase == "running"

    def is_served(self) -> bool:
        """Whether a client is not only let in, but answered."""
        health = self.health()
        return health is not None and health.ingest.phase == "accepting"

    def board(self) -> Board:
        """Return its reports, attached to anew where they were replaced; raises SegmentError where there are none."""
        if self._board is None or not self._board.segment.is_current():
            self._board = regions.attach_board(self.instance)
        return self._board

    def health(self) -> Health | None:
        """Return what the processes report; None before there is anything."""
        try:
            return examine(self.board())
        except SegmentError:
            return None

    def health_problem(self, role: str) -> str:
        """Return what the process of `role` says is wrong; empty for nothing, or before there is anything."""
        health = self.health()
        return health.roles[role].problem if health is not None and role in health.roles else ""

    def reported(self) -> Health:
        """Return what the processes report."""
        health = self.health()
        assert health is not None, self.log()
        return health

    def status(self) -> dict[str, Any]:
        """Return what `status --json` says; nothing before there is a sidecar."""
        shown = self.command("status", "--json").stdout
        found: dict[str, Any] = json.loads(shown) if shown else {}
        return found

    def samples(self) -> int:
        """Return how many samples are in, from a report that is younger than this call."""
        asked = time.monotonic()
        self.wait_for(lambda: self.reported().ingest.heartbeat > asked)
        return self.reported().ingest.accepted

    def url(self) -> str:
        """Return the address of its HTTP server, once it has one."""
        return eventually(lambda: self.reported().monitor.http)

    def wait_for(self, condition: Callable[[], object]) -> None:
        """Wait until `condition()` holds."""
        eventually(condition, explain=self.log)

    def pid(self, role: str) -> int:
        """Return the process of `role`."""
        return self.reported().roles[role].pid

    def signal(self, role: str, number: int) -> int:
        """Send a signal to the process of `role`; return its pid."""
        pid = self.pid(role)
        os.kill(pid, number)
        return pid

    def wait_for_another(self, role: str, pid: int) -> None:
        """Wait until `role` is at work in a process that is not `pid`."""
        self.wait_for(lambda: self.is_well() and self.pid(role) != pid)

    def ring(self) -> Ring:
        """Attach to the ring."""
        return regions.attach_ring(self.settings)[0]

    def rows(self) -> RowBatch:
        """Copy the ring's rows."""
        return self.ring().snapshot()[0]

    def client(self) -> Client:
        """Connect."""
        return Client(self.socket)

    def log(self) -> str:
        """Return what it has logged."""
        return self.log_file.read_text(errors="replace")

    def fsck(self) -> list[str]:
        """Return what the verifier finds unsound."""
        done = self.command("fsck", "--json", "--directory", str(self.checkpoints))
        assert done.returncode in {0, 1}, done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        assert report["sound"] == (done.returncode == 0)
        return [f"{each['what']}: {each['detail']}" for each in report["findings"] if not each["sound"]]

    def stop(self) -> int:
        """Stop it as a container runtime does; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)

    def kill_all(self) -> None:
        """Kill every process at once, as the end of a container does."""
        if self._process is None:
            return
        with suppress(psutil.NoSuchProcess):
            family = [psutil.Process(self._process.pid), *psutil.Process(self._process.pid).children(recursive=True)]
            for member in family:
                with suppress(psutil.NoSuchProcess):
                    member.kill()
            psutil.wait_procs(family, timeout=PATIENCE_S)
        self._process.wait()

    def lose_memory(self) -> None:
        """Remove what it has in shared memory, as the end of a container does."""
        for leftover in regions.leftovers(self.instance):
            path = SHM_DIR / leftover
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def kill(self, role: str) -> int:
        """Kill the process of `role`; return its pid.

        Its last report is made to look as if it had ended well, so that the next start does not have to wait.
        """
        pid = self.signal(role, signal.SIGSTOP)
        reported = msgspec.structs.replace(getattr(self.reported(), role), phase="stopped")
        self.board().box(role).publish(msgspec.msgpack.encode(reported))
        os.kill(pid, signal.SIGKILL)
        return pid


@contextmanager
def running(directory: Path, **settings: str) -> Iterator[Sidecar]:
    """Run a sidecar for a while; where it still runs at the end, it has to stop with exit code 0."""
    with Sidecar(directory, **settings) as sidecar:
        sidecar.start()
        yield sidecar
        if sidecar.process.poll() is None:
            assert sidecar.stop() == 0, sidecar.log()
