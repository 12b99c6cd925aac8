"""A directory that was used with another base model: nothing of the one gets into the other, and each finds its own."""

import fcntl
import random
import signal
import time
from pathlib import Path

import pytest

from pipeline.checkpoints import checkpoint
from pipeline.checkpoints.names import published
from pipeline.model.default_network import two_layer
from pipeline.runtime import regions
from pipeline.runtime.health import PIPELINE
from pipeline.shm import segment
from tests.support.sidecar import QUICK, Sidecar, running
from tests.support.stream import Stream, numbers

LARGE = QUICK | {"VMAFX_SIDECAR_REPLAY_CAPACITY": "50000"}
EARLIER, LATER = 1, 500_000

pytestmark = pytest.mark.processes


def base_model(directory: Path, seed: int) -> str:
    """Write a base model; return its path."""
    path = directory / f"base-{seed}.onnx"
    path.write_bytes(two_layer(6, hidden=8, seed=seed).SerializeToString())
    return str(path)


def streamed(sidecar: Sidecar, samples: int, first: int) -> Stream:
    """Stream samples until all are answered and trained on."""
    with Stream(sidecar, first) as stream:
        stream.wait_for_more(samples)
    sidecar.wait_for(lambda: trained_on_all(sidecar))
    return stream


def trained_on_all(sidecar: Sidecar) -> bool:
    """Whether the trainer has said that nothing is left to learn."""
    return sidecar.reported().trainer.cursor == sidecar.ring().head


def remembered(sidecar: Sidecar) -> dict[str, list[int]]:
    """Return which samples reservoir and hold-out have."""
    capacities = {"reservoir": sidecar.settings.reservoir_capacity, "holdout": sidecar.settings.holdout_capacity}
    return {
        name: sorted(numbers(regions.attach_reservoir(sidecar.settings, name, capacity)[0].snapshot()))
        for name, capacity in capacities.items()
    }


def everything(sidecar: Sidecar) -> list[int]:
    """Return all samples that training remembers, as often as it does."""
    return sorted(number for rows in remembered(sidecar).values() for number in rows)


def restart(sidecar: Sidecar, base: str, memory: str) -> None:
    """Stop it, and start it with a base model."""
    assert sidecar.stop() == 0
    if memory == "lost":
        sidecar.lose_memory()
    sidecar.environment["VMAFX_BASE_MODEL_PATH"] = base
    sidecar.start()


@pytest.mark.parametrize("memory", ["kept", pytest.param("lost", marks=pytest.mark.long)])
def test_another_base_model_learns_from_new_samples_only(tmp_path: Path, memory: str) -> None:
    """Nothing is judged on the old rows either; the first base model, back again, finds its own rows and steps."""
    one, other = base_model(tmp_path, 1), base_model(tmp_path, 2)
    with running(tmp_path, VMAFX_BASE_MODEL_PATH=one, **LARGE) as sidecar:
        streamed(sidecar, 400, EARLIER)
        sidecar.wait_for(lambda: sidecar.reported().exporter.version > 0)
        ones, before = remembered(sidecar), sidecar.reported()
        assert all(ones.values())

        restart(sidecar, other, memory)
        assert remembered(sidecar) == {"reservoir": [], "holdout": []}
        changed = sidecar.reported()
        assert changed.trainer.base_digest != before.trainer.base_digest
        assert (changed.trainer.step, changed.trainer.start) == (0, sidecar.ring().head)
        assert "another base model" in " ".join(changed.problems)
        assert changed.healthy
        assert '"base_changed"' in sidecar.log()
        assert sidecar.command("export").returncode == 0
        made = checkpoint.read(sidecar.checkpoints, max(published(sidecar.checkpoints)))
        assert (made.state, made.metrics["held-out"].samples) == ("unproven", 0)

        streamed(sidecar, 400, LATER)
        others = everything(sidecar)
        assert others
        assert min(others) >= LATER
        assert len(others) == len(set(others))

        restart(sidecar, one, memory)
        assert remembered(sidecar) == ones
        back = sidecar.reported()
        assert back.trainer.step >= before.trainer.step > 0
        assert back.trainer.base_digest == before.trainer.base_digest
        streamed(sidecar, 100, 2 * LATER)
        now = everything(sidecar)
        assert len(now) == len(set(now))
        assert not {number for number in now if LATER <= number < 2 * LATER}
        assert sidecar.fsck() == []


@pytest.mark.parametrize("memory", ["kept", pytest.param("lost", marks=pytest.mark.long)])
def test_rows_are_kept_where_the_settings_say_so(tmp_path: Path, memory: str) -> None:
    """Each is there once, however often the base model changes, and the next one begins with all of them."""
    bases = [base_model(tmp_path, seed) for seed in (1, 2)]
    keep = {"VMAFX_SIDECAR_KEEP_ROWS_ACROSS_BASES": "1"}
    with running(tmp_path, VMAFX_BASE_MODEL_PATH=bases[0], **LARGE, **keep) as sidecar:
        streamed(sidecar, 300, EARLIER)
        rows = remembered(sidecar)
        for base in (bases[1], bases[0], bases[1]):
            restart(sidecar, base, memory)
            assert remembered(sidecar) == rows
        streamed(sidecar, 100, LATER)
        now = everything(sidecar)
        assert len(now) == len(set(now)) == sidecar.ring().head
        assert sidecar.fsck() == []


@pytest.mark.long
def test_killed_at_any_moment_of_a_change(tmp_path: Path) -> None:
    """SIGKILL of everything soon after the start with the other base model, again and again."""
    one, other = base_model(tmp_path, 1), base_model(tmp_path, 2)
    chance = random.Random(0)
    with running(tmp_path, VMAFX_BASE_MODEL_PATH=one, **LARGE) as sidecar:
        streamed(sidecar, 300, EARLIER)
        ones = everything(sidecar)
        assert sidecar.stop() == 0
        for life in range(8):
            sidecar.environment["VMAFX_BASE_MODEL_PATH"] = other if life % 4 else one
            sidecar.launch()
            time.sleep(chance.uniform(0.3, 2.5))  # any moment is a right one
            sidecar.kill_all()
            forgive(sidecar)
        sidecar.environment["VMAFX_BASE_MODEL_PATH"] = other
        sidecar.start()
        streamed(sidecar, 200, LATER)
        now = everything(sidecar)
        assert now
        assert min(now) >= LATER
        restart(sidecar, one, "kept")
        assert everything(sidecar) == ones


def forgive(sidecar: Sidecar) -> None:
    """Forget the reports, so that the next start does not have to wait."""
    segment.remove(regions.name(sidecar.instance, "reports"))


def test_what_is_remembered_is_not_added_again(tmp_path: Path) -> None:
    """The trainer's weights are lost and no state is saved: it begins anew, with the rows that it has."""
    with running(tmp_path, **LARGE) as sidecar:
        streamed(sidecar, 300, EARLIER)
        before = everything(sidecar)
        for _ in range(2):
            assert sidecar.stop() == 0
            segment.remove(regions.name(sidecar.instance, "weights"))
            for path in sidecar.settings.state_dir.glob("*.bin"):
                path.unlink()
            sidecar.start()
            assert everything(sidecar) == before
        assert sidecar.log().count('"cold_start"') == 3
        streamed(sidecar, 50, LATER)
        now = everything(sidecar)
        assert len(now) == len(set(now)) == sidecar.ring().head


def test_a_ring_that_was_restored_behind_the_trainer(tmp_path: Path) -> None:
    """Only the ring is lost, and what was saved of it is old: every new sample is trained on, and none twice."""
    with running(tmp_path, **(LARGE | {"VMAFX_SIDECAR_STATE_INTERVAL_S": "3600"})) as sidecar:
        streamed(sidecar, 200, EARLIER)
        assert sidecar.stop() == 0
        sidecar.start()
        lost = streamed(sidecar, 200, 100_000)
        trainer = sidecar.pid("trainer")
        sidecar.signal("ingest", signal.SIGSTOP)  # or it would put the ring back
        segment.remove(regions.name(sidecar.instance, "ring"))
        sidecar.kill("ingest")
        sidecar.wait_for_another("trainer", trainer)
        new = streamed(sidecar, 400, LATER)
        assert '"ring_differs"' in sidecar.log()
        now = everything(sidecar)
        assert len(now) == len(set(now))
        assert set(new.answered) <= set(now)
        assert set(lost.answered) <= set(now), "trained on before"
        assert sidecar.reported().trainer.evicted_untrained == 0


def test_another_directory_shows_nothing_of_the_first(tmp_path: Path) -> None:
    """Same socket, memory kept: no version, no announcement, and `export` makes the first one there."""
    with running(tmp_path, **LARGE) as sidecar:
        streamed(sidecar, 200, EARLIER)
        sidecar.wait_for(lambda: sidecar.reported().exporter.version > 0)
        assert sidecar.stop() == 0
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        sidecar.environment |= {
            "VMAFX_SIDECAR_CHECKPOINT_DIR": str(elsewhere),
            "VMAFX_SIDECAR_CKPT_INTERVAL_S": "3600",
        }
        sidecar.start()
        report = sidecar.reported().exporter
        assert (report.version, report.latest, report.announced, report.stable_version) == (0, "", "", 0)
        with sidecar.client() as client:
            assert "checkpoint" not in client.ask({"job_id": "1", "features": [0.0] * 6, "true_score": 1.0})
        assert sidecar.command("export").stdout.strip() == str(elsewhere / "model_v000001.onnx")


def test_reset_lets_a_stopped_sidecar_begin_anew(tmp_path: Path) -> None:
    """Refused while it runs. Afterwards there are no samples, steps or rows; checkpoints stay, and versions go on."""
    with running(tmp_path, **LARGE) as sidecar:
        streamed(sidecar, 200, EARLIER)
        sidecar.wait_for(lambda: sidecar.reported().exporter.version > 0)
        refused = sidecar.command("reset")
        assert refused.returncode == 1
        assert "stop it first" in refused.stderr
        assert sidecar.is_well()
        assert sidecar.stop() == 0
        before = published(sidecar.checkpoints)
        done = sidecar.command("reset")
        assert done.returncode == 0, done.stderr
        assert "before-reset" in done.stdout
        assert regions.leftovers(sidecar.instance) == []
        sidecar.start()
        assert sidecar.ring().head == 0
        assert everything(sidecar) == []
        assert published(sidecar.checkpoints) == before
        streamed(sidecar, 100, LATER)
        sidecar.wait_for(lambda: sidecar.reported().exporter.version > max(before))
        assert min(everything(sidecar)) >= LATER
        assert sidecar.fsck() == []


def test_a_start_with_its_memory_reads_no_saved_state(tmp_path: Path) -> None:
    """The files are leased, so that whoever opened one would be seen, and would wait as for a disk that hangs."""
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    try:
        with running(tmp_path, **LARGE) as sidecar:
            streamed(sidecar, 100, EARLIER)
            assert sidecar.stop() == 0
            sidecar.environment["VMAFX_SIDECAR_STATE_INTERVAL_S"] = "3600"
            files = [path.open("rb+") for path in sidecar.settings.state_dir.glob("*.bin")]
            try:
                for file in files:
                    fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            except OSError as error:
                pytest.skip(f"needs leases on files: {error}")
            sidecar.start()
            pids = {role: sidecar.pid(role) for role in PIPELINE}
            sidecar.kill("trainer")
            sidecar.wait_for_another("trainer", pids["trainer"])
            assert files
            assert [fcntl.fcntl(file, fcntl.F_GETLEASE) for file in files] == [fcntl.F_WRLCK] * len(files)
            for file in files:
                file.close()
    finally:
        signal.signal(signal.SIGIO, before)
