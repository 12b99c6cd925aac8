"""A whole sidecar, started as an operator starts it, with handles on each of its processes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import psutil

from pipeline import config
from pipeline.runtime import regions
from pipeline.runtime.health import Health, examine
from pipeline.shm.ring import Ring
from pipeline.shm.rows import RowBatch
from pipeline.shm.segment import SHM_DIR, SegmentError
from tests.contract.client import Client

COMMAND = (sys.executable, "-m", "pipeline")
PATIENCE_S = 60.0
N_FEATURES = 6
QUICK = {
    "VMAFX_SIDECAR_N_FEATURES": str(N_FEATURES),
    "VMAFX_SIDECAR_HTTP": "127.0.0.1:0",
    "VMAFX_SIDECAR_CKPT_INTERVAL_S": "1",
    "VMAFX_SIDECAR_MIN_SAMPLES_CKPT": "50",
    "VMAFX_SIDECAR_STATE_INTERVAL_S": "1",
    "VMAFX_SIDECAR_CPU_SHARE": "0.2",
    "OMP_NUM_THREADS": "1",
}


class Sidecar:
    """`vmafx-sidecar run` in `directory`; may be started again after it has ended."""

    def __init__(self, directory: Path, **settings: str) -> None:
        self.directory = directory
        self.socket = directory / "s.sock"
        self.checkpoints = directory / "models"
        self.checkpoints.mkdir(exist_ok=True)
        self.log_file = directory / "sidecar.log"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("VMAFX_")}
        self.environment = (
            inherited
            | QUICK
            | {
                "VMAFX_SIDECAR_SOCKET": str(self.socket),
                "VMAFX_SIDECAR_CHECKPOINT_DIR": str(self.checkpoints),
                **settings,
            }
        )
        self.settings = config.load(self.environment)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until all three processes are at work."""
        self.launch()
        self.wait_for(self.is_well)

    def launch(self) -> "subprocess.Popen[bytes]":
        """Start it without waiting."""
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "run"], env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
        return self.process

    def is_well(self) -> bool:
        """Whether all three processes are at work; fails where the sidecar has ended."""
        assert self.process is not None
        assert self.process.poll() is None, f"it has ended\n{self.log()}"
        health = self.health()
        return health is not None and health.healthy and health.ready and health.exporter.phase == "running"

    def health(self) -> Health | None:
        """Return what the processes report; None before there is anything."""
        try:
            return examine(regions.attach_board(self.settings.instance_name))
        except SegmentError:
            return None

    def reported(self) -> Health:
        """Return what the processes report."""
        health = self.health()
        assert health is not None, self.log()
        return health

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition()` holds."""
        until = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < until, f"waited {PATIENCE_S:g} s in vain\n{self.log()}"
            time.sleep(0.02)

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
        command = [*COMMAND, "fsck", "--json", "--socket", str(self.socket), "--dir", str(self.checkpoints)]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode in {0, 1}, done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        assert report["sound"] == (done.returncode == 0)
        return [f"{each['what']}: {each['detail']}" for each in report["findings"] if not each["sound"]]

    def stop(self) -> int:
        """Stop it as a container runtime does; return its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)

    def kill_all(self) -> None:
        """Kill every process at once, as the end of a container does."""
        assert self.process is not None
        with suppress(psutil.NoSuchProcess):
            family = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
            for member in family:
                with suppress(psutil.NoSuchProcess):
                    member.kill()
            psutil.wait_procs(family, timeout=PATIENCE_S)
        self.process.wait()

    def lose_memory(self) -> None:
        """Remove what it has in shared memory, as the end of a container does."""
        for leftover in regions.leftovers(self.settings.instance_name):
            path = SHM_DIR / leftover
            if path.is_dir():
                for inside in path.iterdir():
                    inside.unlink()
                path.rmdir()
            else:
                path.unlink(missing_ok=True)

    def kill(self, role: str) -> int:
        """Kill the process of `role`; return its pid.

        Its last report is made to look as if it had ended well, so that the next start is not held back.
        """
        pid = self.signal(role, signal.SIGSTOP)
        reported = msgspec.structs.replace(getattr(self.reported(), role), phase="stopped")
        regions.attach_board(self.settings.instance_name).box(role).publish(msgspec.msgpack.encode(reported))
        os.kill(pid, signal.SIGKILL)
        return pid


@contextmanager
def running(directory: Path, **settings: str) -> Iterator[Sidecar]:
    """Run a sidecar for a while; nothing of it outlives the test."""
    sidecar = Sidecar(directory, **settings)
    try:
        sidecar.start()
        yield sidecar
    finally:
        sidecar.kill_all()
        sidecar.lose_memory()
