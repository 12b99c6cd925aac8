"""Shared memory that is too small, or taken by something else: one line and the documented code, no bus error."""

import os
import signal
import subprocess
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from pipeline.shm.segment import SHM_DIR
from tests.faults.namespace import needs_namespace
from tests.support.sidecar import COMMAND, QUICK, Sidecar
from tests.support.stream import Stream

pytestmark = pytest.mark.processes


def run_with_memory(sidecar: Sidecar, size: str) -> tuple[int, str]:
    """Run it with a /dev/shm of its own of `size`; return exit code and log once it has ended by itself."""
    command = within_memory(size, *COMMAND, "run")
    done = subprocess.run(command, env=sidecar.environment, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def within_memory(size: str, *command: str) -> list[str]:
    """Return what runs `command` with a /dev/shm of its own of `size`."""
    return ["unshare", "-m", "sh", "-c", f'mount -t tmpfs -o size={size} tmpfs /dev/shm && exec "$@"', "sh", *command]


@needs_namespace
@pytest.mark.parametrize(("size", "capacity"), [("40k", "10000"), ("3m", "10000"), ("3m", "5000000")])
def test_too_small_is_said_in_a_line(tmp_path: Path, size: str, capacity: str) -> None:
    """At whichever region the room ends: the sidecar as a whole ends with 71 and says how much was missing."""
    sidecar = Sidecar(tmp_path, VMAFX_SIDECAR_REPLAY_CAPACITY=capacity)
    code, log = run_with_memory(sidecar, size)
    assert code == 71, log
    assert f"{SHM_DIR} has no room for" in log
    assert "VMAFX_SIDECAR_REPLAY_CAPACITY" in log


@needs_namespace
@pytest.mark.parametrize("options", ["64m,ro", "64m,nr_inodes=1", "64m,nr_inodes=4", "64m,nr_inodes=5"])
def test_where_no_file_can_be_made_is_said_in_a_line(tmp_path: Path, options: str) -> None:
    """At whichever file it shows: read-only, or with bytes to spare and no inodes."""
    code, log = run_with_memory(Sidecar(tmp_path), options)
    assert code == 71, log
    assert "Traceback" not in log
    assert f"{SHM_DIR}/vmafx-" in log
    assert "Traceback" not in log


class SidecarInSmallMemory(Sidecar):
    """A sidecar with a /dev/shm of its own, which holds what it needs and 16 MiB more."""

    def run_command(self) -> list[str]:
        """Return the command that starts it behind its own mount."""
        return within_memory("32m", *super().run_command())

    def command(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of an operator's in there."""
        assert self.process.poll() is None, self.log()
        inside = ["nsenter", "-t", str(self.process.pid), "-m", *COMMAND, *arguments]
        return subprocess.run(inside, env=self.environment, capture_output=True, text=True, check=False)

    def pids(self) -> dict[str, int]:
        """Return the process of each role; nothing while not all are at work."""
        status = self.status()
        is_well = status.get("phase") == "running" and status["exporter"]["phase"] == "running"
        return {role: state["pid"] for role, state in status["roles"].items()} if is_well else {}

    def is_another(self, role: str, pid: int) -> bool:
        """Whether all are at work, `role` in a process that is not `pid`."""
        return self.pids().get(role, pid) != pid

    def fill_memory(self) -> Path:
        """Leave no free byte; return the file that takes the room."""
        path = Path("/proc", str(self.process.pid), "root", SHM_DIR.relative_to("/"), "filler")
        with path.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))
        assert os.statvfs(path).f_bavail == 0
        return path


@needs_namespace
def test_memory_that_fills_up_later_stops_nothing(tmp_path: Path) -> None:
    """Not one free byte: each process killed comes back and goes on, checkpoints come, and it stops with 0."""
    small = QUICK | {"VMAFX_SIDECAR_REPLAY_CAPACITY": "500", "VMAFX_SIDECAR_RESERVOIR_CAPACITY": "500"}
    with SidecarInSmallMemory(tmp_path, **small) as sidecar:
        sidecar.launch()
        sidecar.wait_for(lambda: bool(sidecar.pids()))
        with Stream(sidecar) as stream:
            stream.wait_for_more(100)
            sidecar.wait_for(lambda: sidecar.status()["exporter"]["version"] > 0)
            sidecar.fill_memory()
            for role in sidecar.pids():
                sidecar.wait_for(lambda: bool(sidecar.pids()))
                killed = sidecar.pids()[role]
                os.kill(killed, signal.SIGKILL)
                sidecar.wait_for(partial(sidecar.is_another, role, killed))
            stream.wait_for_more(100)
            version = sidecar.status()["exporter"]["version"]
            sidecar.wait_for(lambda: sidecar.status()["exporter"]["version"] > version)
        assert sidecar.stop() == 0, sidecar.log()
        assert "no room" not in sidecar.log()


def test_a_run_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """A link in its place would have supervisord write where the link leads."""
    sidecar = Sidecar(tmp_path, **QUICK)
    run_dir = SHM_DIR / f"vmafx-{sidecar.instance}-run"
    target = tmp_path / "elsewhere"
    target.mkdir(mode=0o700)
    run_dir.symlink_to(target)
    try:
        assert sidecar.launch().wait(30) == 71
        assert "belongs to another user" in sidecar.log()
        assert list(target.iterdir()) == []
    finally:
        run_dir.unlink()
        sidecar.lose_memory()
