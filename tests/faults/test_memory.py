"""Shared memory that is too small, or taken by something else: one line and the documented code, no bus error."""

import subprocess
from pathlib import Path

import pytest

from pipeline.shm.segment import SHM_DIR
from tests.faults.namespace import needs_namespace
from tests.processes.sidecar import COMMAND, Sidecar

pytestmark = pytest.mark.processes


def run_with_memory(sidecar: Sidecar, size: str) -> tuple[int, str]:
    """Run it with a /dev/shm of its own of `size`; return exit code and log once it has ended by itself."""
    mount = f'mount -t tmpfs -o size={size} tmpfs /dev/shm && exec "$@"'
    command = ["unshare", "-m", "sh", "-c", mount, "sh", *COMMAND, "run"]
    done = subprocess.run(command, env=sidecar.environment, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


@needs_namespace
@pytest.mark.parametrize(("size", "capacity"), [("40k", "10000"), ("3m", "10000"), ("3m", "5000000")])
def test_too_small_is_said_in_a_line(tmp_path: Path, size: str, capacity: str) -> None:
    """At whichever region the room ends: the sidecar as a whole ends with 71 and says how much was missing."""
    sidecar = Sidecar(tmp_path, VMAFX_SIDECAR_REPLAY_CAPACITY=capacity, VMAFX_SIDECAR_N_FEATURES="80")
    code, log = run_with_memory(sidecar, size)
    assert code == 71, log
    assert f"{SHM_DIR} has no room for" in log
    assert "VMAFX_SIDECAR_REPLAY_CAPACITY" in log
    assert "Traceback" not in log


def test_a_run_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """A link in its place would have supervisord write where the link leads."""
    sidecar = Sidecar(tmp_path)
    run_dir = SHM_DIR / f"vmafx-{sidecar.settings.instance_name}-run"
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
