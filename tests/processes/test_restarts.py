"""Stop and start again: with everything as it was, with shared memory lost, with another size."""

import os
import shutil
import socket
from pathlib import Path

import psutil
import pytest

from pipeline.checkpoints.names import published
from pipeline.runtime import regions
from pipeline.runtime.health import Health
from pipeline.shm.segment import SHM_DIR, take_lock
from tests.support.client import sample
from tests.support.sidecar import QUICK, Sidecar, running
from tests.support.stream import Stream, numbered, numbers

LARGE = QUICK | {"VMAFX_SIDECAR_REPLAY_CAPACITY": "50000"}

pytestmark = pytest.mark.processes


def streamed(sidecar: Sidecar, samples: int = 400, first: int = 1) -> Stream:
    """Stream samples until all are answered, trained on, and a checkpoint says so."""
    with Stream(sidecar, first) as stream:
        stream.wait_for_more(samples)
    sidecar.wait_for(lambda: sidecar.reported().trainer.lag == 0)
    sidecar.wait_for(lambda: sidecar.reported().exporter.version > 0)
    return stream


def continues(before: Health, after: Health) -> None:
    """Check that nothing that only grows has become less."""
    assert after.trainer.step >= before.trainer.step > 0
    assert after.trainer.cursor >= before.trainer.cursor > 0
    assert after.ingest.accepted >= before.ingest.accepted
    assert after.exporter.version >= before.exporter.version > 0
    assert after.exporter.samples_at_checkpoint >= before.exporter.samples_at_checkpoint
    assert after.trainer.reservoir_rows == before.trainer.reservoir_rows > 0
    assert after.trainer.holdout_rows == before.trainer.holdout_rows > 0


def remembered_rows(sidecar: Sidecar) -> list[list[int]]:
    """Return which samples reservoir and hold-out have."""
    settings = sidecar.settings
    kept = {"reservoir": settings.reservoir_capacity, "holdout": settings.holdout_capacity}
    found = [regions.attach_reservoir(settings, name, capacity)[0].snapshot() for name, capacity in kept.items()]
    assert all(len(rows) for rows in found)
    return [sorted(numbers(rows)) for rows in found]


@pytest.mark.parametrize("memory", ["kept", pytest.param("lost", marks=pytest.mark.long)])
def test_sigterm_and_start_again(tmp_path: Path, memory: str) -> None:
    """Every sample and every step is there, resends are recognised, versions go on; also without shared memory."""
    with running(tmp_path, **LARGE) as sidecar:
        stream = streamed(sidecar)
        assert sidecar.stop() == 0
        before, remembered = sidecar.reported(), remembered_rows(sidecar)
        if memory == "lost":
            sidecar.lose_memory()
        sidecar.start()
        continues(before, sidecar.reported())
        assert remembered_rows(sidecar) == remembered
        assert stream.missing(sidecar.rows()) == []
        with sidecar.client() as client:
            assert client.ask(numbered(stream.answered[-1]))["ok"]
        assert len(numbers(sidecar.rows())) == len(set(numbers(sidecar.rows())))
        streamed(sidecar, 100, first=stream.answered[-1] + 1)
        sidecar.wait_for(lambda: sidecar.reported().exporter.version > before.exporter.version)
        assert sidecar.fsck() == []


def test_killed_as_a_whole_with_memory_kept(tmp_path: Path) -> None:
    """Shared memory outlives the container: nothing is lost."""
    with running(tmp_path, **LARGE) as sidecar:
        with Stream(sidecar) as stream:
            stream.wait_for_more(400)
            before = sidecar.reported()
            sidecar.kill_all()
        sidecar.start()
        assert sidecar.reported().trainer.step >= before.trainer.step
        assert stream.missing(sidecar.rows()) == []
        assert sidecar.fsck() == []


def test_a_start_at_once_after_the_supervisor_was_killed(tmp_path: Path) -> None:
    """Its ingest listens until it has noticed: the next sidecar waits for that, rather than call it another one."""
    with Sidecar(tmp_path, **QUICK) as sidecar, socket.socket(socket.AF_UNIX) as left:
        role = regions.role_lock(sidecar.instance, "ingest")
        lock = take_lock(role)
        left.bind(str(sidecar.socket))
        left.listen()
        sidecar.launch()
        waited_for = str(SHM_DIR / f"{role}.lock")
        sidecar.wait_for(lambda: waited_for in {file.path for file in psutil.Process(sidecar.process.pid).open_files()})
        left.close()
        os.close(lock)
        sidecar.wait_for(sidecar.is_well)
        assert sidecar.stop() == 0, sidecar.log()


def test_killed_as_a_whole_with_memory_lost(tmp_path: Path) -> None:
    """What was saved is there; at most what came after the last save is not: then the node's resends bring it back."""
    with running(tmp_path, **LARGE) as sidecar:
        streamed(sidecar)
        with Stream(sidecar, first=100_000) as stream:
            stream.wait_for_more(200)
            saved_at = sidecar.reported().exporter.state_saved_at
            saved = len(stream.answered)
            sidecar.wait_for(lambda: sidecar.reported().exporter.state_saved_at > saved_at)
            saved_at = sidecar.reported().exporter.state_saved_at
            sidecar.wait_for(lambda: sidecar.reported().exporter.state_saved_at > saved_at)
            before = sidecar.reported()
            versions = published(sidecar.checkpoints)
            sidecar.kill_all()
            sidecar.lose_memory()
        sidecar.start()
        lost = stream.missing(sidecar.rows())
        assert set(lost).isdisjoint(stream.answered[:saved])
        assert lost == stream.answered[len(stream.answered) - len(lost) :], "only the newest may be missing"
        assert sidecar.reported().trainer.step > 0
        streamed(sidecar, 100, first=200_000)
        sidecar.wait_for(lambda: sidecar.reported().exporter.version > before.exporter.version)
        assert set(versions) < set(published(sidecar.checkpoints))
        assert sidecar.fsck() == []


def test_another_number_of_features_starts_cold(tmp_path: Path) -> None:
    """Neither ring nor state of the old size is read as the new one; the log says so."""
    with running(tmp_path, **QUICK) as sidecar:
        streamed(sidecar)
        assert sidecar.stop() == 0
        version = max(published(sidecar.checkpoints))
        sidecar.environment["VMAFX_SIDECAR_N_FEATURES"] = "7"
        sidecar.start()
        assert sidecar.ring().head == 0
        assert "features" in sidecar.log()
        with sidecar.client() as client:
            refused = client.ask(sample("six"))
            assert refused["error"] == "features: feature vector length 6 != expected 7"
            for i in range(80):
                assert client.ask({"job_id": str(i), "features": [float(i)] * 7, "true_score": 50.0})["ok"]
        sidecar.wait_for(lambda: max(published(sidecar.checkpoints)) > version)
        assert sidecar.fsck() == []


def test_a_corrupt_state_is_set_aside_and_the_one_before_used(tmp_path: Path) -> None:
    """A flipped byte in the newest state file: said, set aside; the older one is where it goes on."""
    with running(tmp_path, **LARGE) as sidecar:
        stream = streamed(sidecar)
        assert sidecar.stop() == 0
        sidecar.start()
        streamed(sidecar, 100, first=1_000_000)
        assert sidecar.stop() == 0
        newest = max(sidecar.settings.state_dir.glob("state-*.bin"))
        data = bytearray(newest.read_bytes())
        data[len(data) // 2] ^= 1
        newest.write_bytes(data)
        assert any(newest.name in finding for finding in sidecar.fsck())
        sidecar.lose_memory()
        sidecar.start()
        assert stream.missing(sidecar.rows()) == []
        sidecar.wait_for(lambda: any(sidecar.settings.state_dir.glob("*.broken")))
        assert "its digest is wrong" in sidecar.log()


def test_a_second_sidecar_refuses_and_leaves_the_first_alone(tmp_path: Path) -> None:
    """On the same socket, and on the same directory: a documented code, one line; the first serves on."""
    with running(tmp_path, **QUICK) as first, Stream(first) as stream:
        stream.wait_for_more(100)
        pids = {role: state.pid for role, state in first.reported().roles.items()}
        same_socket = Sidecar(tmp_path, **QUICK)
        same_socket.log_file = tmp_path / "second.log"
        assert same_socket.launch().wait(30) == 73
        assert "another sidecar is running" in same_socket.log()
        other = tmp_path / "other"
        other.mkdir()
        with Sidecar(other, **QUICK, VMAFX_SIDECAR_CHECKPOINT_DIR=str(first.checkpoints)) as same_directory:
            assert same_directory.launch().wait(60) == 73
        assert "another sidecar publishes here" in same_directory.log()
        assert "Traceback" not in same_socket.log() + same_directory.log()
        stream.wait_for_more(100)
        assert {role: state.pid for role, state in first.reported().roles.items()} == pids
        assert first.fsck() == []


def test_nothing_is_left_after_stop_and_clean(tmp_path: Path) -> None:
    """A sidecar whose directory goes away altogether can be removed without a trace in shared memory."""
    with running(tmp_path, **QUICK) as sidecar:
        streamed(sidecar, 60)
        assert sidecar.stop() == 0
        assert not sidecar.socket.exists()
        shutil.rmtree(sidecar.checkpoints)
        sidecar.checkpoints.mkdir()
        sidecar.start()
        assert sidecar.stop() == 0
        assert sidecar.fsck() == []
