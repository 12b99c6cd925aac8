"""How a whole sidecar ends, and that no end is carried into the next run."""

import os
import shutil
import signal
from pathlib import Path

import pytest

from pipeline.runtime import regions, state_file
from pipeline.shm.segment import SHM_DIR
from tests.processes.test_base_changes import base_model
from tests.processes.test_restarts import streamed
from tests.support.sidecar import QUICK, Sidecar, running
from tests.support.stream import Stream

pytestmark = pytest.mark.processes


def put_a_file_in_place_of(directory: Path) -> None:
    """Leave nothing that can be written to, not even by root."""
    shutil.rmtree(directory)
    directory.write_text("no directory")


def test_a_stop_without_a_last_save_says_so(tmp_path: Path) -> None:
    """A models directory that cannot be written: phase `failed`, with the reason, while it runs; then code 74."""
    with running(tmp_path, **(QUICK | {"VMAFX_SIDECAR_STATE_INTERVAL_S": "3600"})) as sidecar:
        streamed(sidecar, 60)
        put_a_file_in_place_of(sidecar.checkpoints)
        sidecar.wait_for(lambda: sidecar.reported().exporter.phase == "blocked")
        health = sidecar.reported()
        assert (health.phase, health.healthy) == ("failed", True)
        assert any(str(sidecar.checkpoints) in problem for problem in health.problems)
        headline = sidecar.command("status").stdout.splitlines()[0]
        assert headline.startswith("failed")
        assert "exporter" in headline
        with Stream(sidecar, first=10_000) as stream:
            stream.wait_for_more(50)
        assert sidecar.stop() == 74
        assert "the state is not saved" in sidecar.log()
        sidecar.checkpoints.unlink()
        sidecar.checkpoints.mkdir()
        sidecar.start()
        assert sidecar.reported().phase == "running"
        assert sidecar.stop() == 0


@pytest.mark.parametrize("memory", ["kept", pytest.param("lost", marks=pytest.mark.long)])
def test_a_repaired_sidecar_remembers_no_failure(tmp_path: Path, memory: str) -> None:
    """Ended with 65 for a broken base model: with a good one it runs, says so, and ends with 0; counters go on."""
    with running(tmp_path, **QUICK, VMAFX_BASE_MODEL_PATH=base_model(tmp_path, 1)) as sidecar:
        streamed(sidecar)
        accepted = sidecar.reported().ingest.accepted
        assert sidecar.stop() == 0
        good = Path(sidecar.environment["VMAFX_BASE_MODEL_PATH"]).read_bytes()
        Path(sidecar.environment["VMAFX_BASE_MODEL_PATH"]).write_bytes(b"no model")
        assert sidecar.launch().wait(60) == 65
        Path(sidecar.environment["VMAFX_BASE_MODEL_PATH"]).write_bytes(good)
        if memory == "lost":
            sidecar.lose_memory()
        sidecar.start()
        health = sidecar.reported()
        assert (health.phase, health.problems) == ("running", [])
        assert health.ingest.accepted >= accepted
        assert sidecar.stop() == 0


@pytest.mark.parametrize("memory", ["kept", pytest.param("lost", marks=pytest.mark.long)])
def test_an_orderly_restart_is_no_incident(tmp_path: Path, memory: str) -> None:
    """Nobody's restarts grow, nothing counts as failed, and the last save is as old as the file that it made."""
    with running(tmp_path, **QUICK) as sidecar:
        for _ in range(2):
            streamed(sidecar, 60)
            assert sidecar.stop() == 0
            saved_at = [path.stat().st_mtime for path in state_file.files(sidecar.settings.state_dir)]
            if memory == "lost":
                sidecar.lose_memory()
            sidecar.environment["VMAFX_SIDECAR_STATE_INTERVAL_S"] = "3600"
            sidecar.start()
            health = sidecar.reported()
            assert sum(health.monitor.restarts.values()) == 0
            assert health.exporter.failures == {}
            assert all(older < health.exporter.state_saved_at for older in saved_at[:-1])
            assert memory == "kept" or health.exporter.state_saved_at < saved_at[-1] + 0.1
        assert '"event": "failed"' not in sidecar.log()


def test_everything_in_shared_memory_is_known_by_name(tmp_path: Path) -> None:
    """What `clean` removes is exactly what is there, of this sidecar and of no other whose name begins alike."""
    with running(tmp_path, **QUICK, VMAFX_SIDECAR_INSTANCE=f"test-{os.getpid()}-node") as sidecar:
        streamed(sidecar, 60)
        name = sidecar.instance
        assert {path.name for path in SHM_DIR.glob(f"{regions.PREFIX}{name}-*")} == set(regions.leftovers(name))
        other = f"{name}-2"
        try:
            with regions.claimed(other) as alive:
                assert alive == []
            assert regions.leftovers(other)
            assert not set(regions.leftovers(name)) & set(regions.leftovers(other))
            sidecar.kill_all()
            cleaned = sidecar.command("clean")
            assert cleaned.returncode == 0, cleaned.stderr
            assert regions.leftovers(name) == []
            assert regions.leftovers(other)
        finally:
            for leftover in regions.leftovers(other):
                (SHM_DIR / leftover).unlink()


def test_a_sidecar_that_runs_is_not_cleaned_away(tmp_path: Path) -> None:
    """Whoever has a lock is alive, whatever the reports say; a pid in a dead one's report proves nothing."""
    with running(tmp_path, **QUICK) as sidecar:
        refused = sidecar.command("clean")
        assert refused.returncode == 1
        assert "is running (run, ingest, trainer, exporter, monitor)" in refused.stderr
        sidecar.wait_for(sidecar.is_well)
        assert sidecar.stop() == 0
        assert sidecar.command("clean").returncode == 0
        assert regions.leftovers(sidecar.instance) == []


def test_another_process_stopped_in_its_check_says_nothing(tmp_path: Path) -> None:
    """A stop that hits the trainer while another process checks the base model for it is not the model's fault."""
    with Sidecar(tmp_path, **QUICK) as sidecar:
        process = sidecar.launch()
        sidecar.wait_for(lambda: (health := sidecar.health()) is not None and health.trainer.phase == "initializing")
        trainer = sidecar.pid("trainer")
        sidecar.wait_for(lambda: bool(children_of(trainer)))
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert '"code"' not in sidecar.log(), sidecar.log()


def children_of(pid: int) -> str:
    """Return the children of a process, as the kernel lists them."""
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().strip()
