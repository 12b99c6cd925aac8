"""The fleet's demo as its user starts it: a NATS server, a pool and four sidecars, all real."""

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
import pytest

from pipeline import config
from pipeline.demo.sidecar import COMMAND
from pipeline.runtime import regions
from tests.support.nats import needs_nats
from tests.support.waiting import eventually

pytestmark = [pytest.mark.processes, needs_nats]


class Running:
    """A demo with all its files below a directory, and who belongs to it."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.directory, self.out = directory, directory / "out"
        command = [*COMMAND, "demo", "--fleet", "--out", str(self.out), *arguments]
        self.process = subprocess.Popen(
            command,
            env=os.environ | {"TMPDIR": str(directory)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.instances: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def wait_until_all_stream(self) -> None:
        """Wait until the pool and all sidecars are at work, and take note of who they are."""
        assert self.process.stdout is not None
        said: list[str] = []
        for line in self.process.stdout:
            said.append(line)
            if "samples and RMSE" in line:
                break
        else:
            pytest.fail("".join(said))
        for process in self.family():
            with suppress(psutil.Error):
                if self.is_server(process):
                    continue
                self.instances.add(config.load(process.environ()).instance_name)

    def family(self) -> list[psutil.Process]:
        """Return every process of a sidecar, the pool and the server."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                models = process.environ().get("VMAFX_SIDECAR_CHECKPOINT_DIR", "")
                if models.startswith(str(self.directory)) or self.is_server(process):
                    found.append(process)
        return found

    def is_server(self, process: psutil.Process) -> bool:
        """Tell whether a process is the demo's NATS server."""
        return "--jetstream" in (line := process.cmdline()) and str(self.directory) in " ".join(line)

    def in_shared_memory(self) -> list[str]:
        """Return what the sidecars and the pool have in shared memory."""
        return [name for instance in self.instances for name in regions.leftovers(instance)]


@pytest.mark.long
def test_it_succeeds(tmp_path: Path) -> None:
    """Pool and sidecars end better than the base model, and nothing is left of it but plot and logs."""
    with Running(tmp_path, "--seconds", "15") as demo:
        demo.wait_until_all_stream()
        assert len(demo.instances) == 5
        assert demo.in_shared_memory()
        output, _ = demo.process.communicate(timeout=600)
        assert demo.process.returncode == 0, output
        for row in ("base model", "sidecar-1 alone", "sidecar-4 alone", "pool ", "sidecar-1 with the pool"):
            assert row in output
        assert "mean RMSE of the sidecars: alone " in output
        assert (demo.out / "fleet.png").read_bytes().startswith(b"\x89PNG")
        assert not list(tmp_path.glob("vmafx-*"))
        assert not demo.in_shared_memory()
        assert not demo.family()


@pytest.mark.long
def test_ctrl_c_stops_all_of_it(tmp_path: Path) -> None:
    """Stopped in mid-stream it says so, exits with 1 and leaves no process and no file behind."""
    with Running(tmp_path, "--seconds", "600") as demo:
        demo.wait_until_all_stream()
        demo.process.send_signal(signal.SIGINT)
        output, _ = demo.process.communicate(timeout=300)
        assert demo.process.returncode == 1
        assert output.endswith("Error: stopped before the end\n")
        assert not demo.family()
        assert not list(tmp_path.glob("vmafx-*"))
        assert not demo.in_shared_memory()


@pytest.mark.long
def test_a_killed_demo_leaves_no_process(tmp_path: Path) -> None:
    """Even SIGKILL of the demo ends the server, the pool and the sidecars, which the kernel tells."""
    with Running(tmp_path, "--seconds", "600") as demo:
        demo.wait_until_all_stream()
        demo.process.kill()
        demo.process.communicate()
        assert eventually(lambda: not demo.family(), within_s=60)
        for instance in demo.instances:
            environment = os.environ | {"VMAFX_SIDECAR_INSTANCE": instance}
            subprocess.run([*COMMAND, "clean"], env=environment, check=True)
        assert not demo.in_shared_memory()


def test_a_rate_is_refused(tmp_path: Path) -> None:
    """Each row is sent once: the seconds say how fast."""
    demo = [*COMMAND, "demo", "--fleet", "--rate", "5", "--out", str(tmp_path)]
    done = subprocess.run(demo, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.endswith("Error: --rate is not for --fleet: every row is sent once, in --seconds\n")
