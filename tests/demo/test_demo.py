"""The demo as its user starts it: a process, with real processes below it."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from pipeline import config
from pipeline.demo.sidecar import COMMAND, Sidecar, SidecarEndedError
from pipeline.runtime import regions
from tests.support.waiting import eventually

pytestmark = pytest.mark.processes


def family(directory: Path) -> list[psutil.Process]:
    """Return every process whose sidecar has its socket in ``directory``."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("VMAFX_SIDECAR_SOCKET", "").startswith(str(directory)):
                found.append(process)
    return found


def in_shared_memory(socket: str) -> list[str]:
    """Return what the sidecar of this socket has in shared memory."""
    return list(regions.leftovers(config.load({"VMAFX_SIDECAR_SOCKET": socket}).instance_name))


def socket_of(directory: Path) -> str:
    """Return where the demo's sidecar listens, as the node logs it when it has connected."""
    log = directory / "out" / "node.log"
    assert eventually(lambda: log.read_text().count("\n") > 0)
    return str(json.loads(log.read_text().splitlines()[0])["socket"])


def demo(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start the demo with all its files below ``directory``."""
    command = [*COMMAND, "demo", "--out", str(directory / "out"), *arguments]
    environment = os.environ | {"TMPDIR": str(directory)}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def test_it_succeeds(tmp_path: Path) -> None:
    """In a few seconds the last checkpoint beats the base model, and nothing is left of it but plot and logs."""
    process = demo(tmp_path, "--seconds", "15", "--rate", "400")
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert "the node swapped to model_v" in output
    assert "base_model" in output
    assert (tmp_path / "out" / "demo.png").read_bytes().startswith(b"\x89PNG")
    assert not list(tmp_path.glob("vmafx-*"))
    assert not in_shared_memory(socket_of(tmp_path))
    assert not family(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_stops_all_of_it(tmp_path: Path, number: signal.Signals) -> None:
    """Stopped in mid-stream it says so, exits with 1 and leaves no process and no file behind."""
    process = demo(tmp_path, "--seconds", "600")
    assert process.stdout is not None
    for line in process.stdout:
        if "samples" in line:
            break
    assert len(family(tmp_path)) >= 4
    assert in_shared_memory(socket_of(tmp_path))
    process.send_signal(number)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert output.endswith("Error: stopped before the end\n")
    assert not family(tmp_path)
    assert not list(tmp_path.glob("vmafx-*"))
    assert not in_shared_memory(socket_of(tmp_path))


def test_a_killed_demo_leaves_no_process(tmp_path: Path) -> None:
    """Even SIGKILL of the demo ends the sidecar, which the kernel tells."""
    process = demo(tmp_path, "--seconds", "600")
    assert process.stdout is not None
    assert eventually(lambda: len(family(tmp_path)) >= 4)
    process.kill()
    process.communicate()
    assert eventually(lambda: not family(tmp_path))
    for leftover in tmp_path.glob("vmafx-demo-*"):
        subprocess.run([*COMMAND, "clean", "--socket", str(leftover / "sidecar.sock")], check=True)


def test_a_sidecar_that_ends_is_told_with_its_last_words(tmp_path: Path) -> None:
    """When the sidecar does not start, the reason is the one that it gave."""
    settings = {"VMAFX_SIDECAR_SOCKET": str(tmp_path / "s.sock"), "VMAFX_SIDECAR_LR": "much"}

    with Sidecar(settings, tmp_path / "log") as sidecar:
        sidecar._process.wait(timeout=60)
        with pytest.raises(SidecarEndedError, match=r"code 78: .*VMAFX_SIDECAR_LR='much'"):
            sidecar.check()
    assert not in_shared_memory(str(tmp_path / "s.sock"))


def test_an_unknown_target_is_one_clear_line(tmp_path: Path) -> None:
    """A target that the corpus has not is named at once, with those that it has."""
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "demo", "--target", "mos", "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "Error: no target 'mos' in this corpus; it has vmaf, vmaf_neg, vmaf_phone\n"
