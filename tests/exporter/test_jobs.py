"""The exporter's jobs, on real regions: what is published, what is refused, what a restart resumes from."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import structlog

from pipeline.checkpoints.names import file_of, published
from pipeline.exporter.candidate import Refused
from pipeline.exporter.jobs import Jobs, NotReady
from pipeline.model.verify import verify
from pipeline.runtime import messages, regions, saved_state, state_file
from pipeline.runtime.locks import DirectoryTaken
from pipeline.runtime.restore import Saved
from pipeline.runtime.state_file import files
from pipeline.shm import segment
from pipeline.shm.ring import Ring
from tests.support.checkpoints import publish_one, small_model
from tests.support.dying import completes, kill
from tests.support.surroundings import N_FEATURES, Surroundings, settings_for

OTHER = small_model(seed=3).vector()
NEVER = 10**9


@pytest.fixture
def around(tmp_path: Path, instance: str) -> Surroundings:
    """Give regions in which nothing was trained yet."""
    return Surroundings(settings_for(tmp_path / "online", instance))


def work_of(around: Surroundings) -> Jobs:
    """Return the work of an exporter that has just started."""
    log = structlog.get_logger()
    return Jobs(around.settings, around.board, log, Saved(around.settings, log))


def test_an_export_is_the_base_graph_with_the_trainers_weights(around: Surroundings) -> None:
    """Byte for byte; the sidecar says from what it was made; the file verifies."""
    around.feed(37)
    around.train(OTHER, step=5)
    work = work_of(around)
    work.export()
    overview = work.upkeep()
    path = file_of(around.settings.checkpoint_dir, 1)
    assert path.read_bytes() == around.base.with_weights(OTHER)
    assert all(check.passed for check in verify(path))
    latest = overview.latest
    assert latest is not None
    assert (latest.step, latest.samples, latest.state) == (5, 37, "unproven")
    assert (latest.base_model, latest.base_sha256) == ("small.onnx", around.base.digest)
    assert overview.announced == latest


def test_better_weights_become_stable_and_are_handed_back(around: Surroundings) -> None:
    """Judged on the held-out rows; the trainer finds them in the region `stable`."""
    around.hold_out(around.base.with_weights(OTHER))
    around.feed(20)
    around.train(OTHER, step=5)
    work = work_of(around)
    work.export()
    overview = work.upkeep()
    assert overview.stable == overview.latest
    assert overview.stable is not None
    figures = overview.stable.metrics["held-out"]
    assert figures.candidate is not None
    assert figures.candidate.rmse == pytest.approx(0, abs=1e-5)
    mailbox, _ = regions.attach_mailbox(around.settings, "stable")
    letter = mailbox.read()
    assert letter is not None
    handed = messages.decode_stable(letter.payload)
    assert (handed.checkpoint, handed.base_digest) == (1, around.base.digest)
    np.testing.assert_array_equal(handed.vector(), OTHER)


def test_the_base_models_own_weights_are_not_stable(around: Surroundings) -> None:
    """And an unstable checkpoint is published, but nodes are not told of it."""
    around.hold_out(around.base.with_weights(OTHER))
    around.train(around.base.vector(), step=1)
    work = work_of(around)
    work.export()
    overview = work.upkeep()
    assert overview.latest is not None
    assert (overview.latest.state, overview.stable, overview.announced) == ("unstable", None, None)


def test_what_the_trainer_does_not_mean_is_not_published(around: Surroundings) -> None:
    """Weights that are not finite, of another number, or that score otherwise than the trainer said."""
    work = work_of(around)
    broken = OTHER.copy()
    broken[7] = np.inf
    around.train(broken, step=1)
    with pytest.raises(Refused, match="not all finite"):
        work.export()
    around.train(OTHER, step=2, error=0.5)
    with pytest.raises(Refused, match=r"differ by up to 0\.5"):
        work.export()
    assert published(around.settings.checkpoint_dir) == []


def test_weights_of_another_base_model_are_waited_out(around: Surroundings) -> None:
    """Between the two regions a trainer that starts with a new base model may have written only one."""
    work = work_of(around)
    with pytest.raises(NotReady):
        work.export()
    around.train(OTHER, step=1, digest="0" * 64)
    with pytest.raises(NotReady):
        work.export()


def test_versions_go_on_in_the_next_life(around: Surroundings) -> None:
    """An exporter continues where the directory stands; a second one beside it is refused."""
    around.train(OTHER, step=1)
    around.settings.checkpoint_dir.mkdir()
    publish_one(around.settings.checkpoint_dir)
    work = work_of(around)
    work.export()
    with pytest.raises(DirectoryTaken):
        work_of(around).export()
    assert published(around.settings.checkpoint_dir) == [1, 2]


def test_without_its_fixture_nothing_is_called_stable(tmp_path: Path, instance: str) -> None:
    """A fixture that cannot be read is the reason in the sidecar."""
    environ = settings_for(tmp_path / "online", instance, VMAFX_SIDECAR_FIXTURE=str(tmp_path / "gone.npz"))
    around = Surroundings(environ)
    around.hold_out(around.base.with_weights(OTHER))
    around.train(OTHER, step=1)
    overview = work_of(around).export()
    assert overview.latest is not None
    assert overview.latest.state == "unproven"
    assert "gone.npz" in overview.latest.reason
    assert overview.announced is None


def test_the_saved_state_holds_everything(around: Surroundings) -> None:
    """Ring, reservoirs, the snapshot byte for byte, and the roles' reports; nothing new, nothing written."""
    around.feed(30)
    around.hold_out(around.base.serialized)
    around.train(OTHER, step=4)
    work = work_of(around)
    work.save()
    state, rejected = saved_state.load(around.settings.state_dir)
    assert state is not None
    assert rejected == []
    assert (state.n_features, state.base_digest) == (N_FEATURES, around.base.digest)
    assert (state.regions["ring"].count, len(state.regions["ring"].words)) == (30, 30)
    assert len(state.regions["holdout"].words) == 200
    assert state.snapshot is not None
    assert messages.decode_snapshot(state.snapshot).step == 4
    assert set(state.reports) == {"ingest", "trainer"}
    work.save()
    assert len(files(around.settings.state_dir)) == 1
    ring = Ring.private(256, N_FEATURES)
    ring.restore(state.regions["ring"].words, state.regions["ring"].count)
    assert ring.head == 30


@pytest.fixture
def later(around: Surroundings, tmp_path: Path, instance: str) -> Iterator[Surroundings]:
    """Save 30 samples and step 4, and give the regions of a machine that has been restarted since."""
    around.feed(30)
    around.train(OTHER, step=4)
    assert completes(lambda: work_of(around).save(), NEVER, kill)  # an exporter that has ended since
    name = f"{instance}-later"
    yield Surroundings(settings_for(tmp_path / "online", name))
    for leftover in regions.leftovers(name):
        segment.remove(leftover)


def saved(around: Surroundings) -> tuple[int, int]:
    """Return what the newest state holds: the ring's head, and the trainer's step (-1: none)."""
    state, rejected = saved_state.load(around.settings.state_dir)
    assert state is not None
    assert rejected == []
    step = messages.decode_snapshot(state.snapshot).step if state.snapshot is not None else -1
    return state.regions["ring"].count, step


def test_the_trainers_part_is_carried_over_while_it_waits(later: Surroundings) -> None:
    """In the new life it has published nothing yet: its step is not lost by the next save."""
    later.feed(35)
    work_of(later).save()
    assert saved(later) == (35, 4)


def test_a_ring_that_has_not_resumed_yet_is_not_saved(around: Surroundings) -> None:
    """It has no identity while ingest fills it; once it has one, it counts, and is saved with it."""
    around.feed(2)
    identity = around.ring.identity
    around.ring._identity.store(0)
    work = work_of(around)
    work.save()
    assert saved_state.load(around.settings.state_dir) == (None, [])
    around.ring._identity.store(identity)
    work.save()
    state, _ = saved_state.load(around.settings.state_dir)
    assert state is not None
    assert (state.regions["ring"].count, state.ring) == (2, identity)


def test_what_is_further_on_is_set_aside(later: Surroundings) -> None:
    """A ring and a trainer that began from nothing, since they could not read the state, do not cost it."""
    later.feed(2)
    later.train(OTHER, step=1)
    work = work_of(later)
    for _ in range(3):
        work.save()
        later.feed(1)
    assert saved(later)[1] == 1
    aside = list(later.settings.state_dir.glob("*.broken"))
    assert [saved_state.parse(state_file.read(path)).regions["ring"].count for path in aside] == [30]


def test_a_file_that_cannot_be_read_now_stays(later: Surroundings, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again, then done without; once it would have to go, it is set aside, whole."""
    monkeypatch.setattr("pipeline.runtime.restore._PATIENCE_S", 0.0)
    read_bytes = Path.read_bytes

    def broken_disk(path: Path) -> bytes:
        if path.name == "state-000000001.bin":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read_bytes(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", broken_disk)
        work = work_of(later)
        later.feed(2)
        for _ in range(3):
            work.save()
            later.feed(1)
    assert saved(later) == (4, -1)
    (aside,) = later.settings.state_dir.glob("*.broken")
    assert saved_state.parse(state_file.read(aside)).regions["ring"].count == 30


def test_each_base_model_keeps_its_state(around: Surroundings) -> None:
    """What is saved is of the new one alone; the old one's lies under its name, whenever the exporter is killed."""
    around.feed(30)
    around.train(OTHER, step=4)
    work = work_of(around)
    work.save()
    around.feed(1)
    around.train(OTHER, step=0, digest="f" * 64)
    work.save()
    directory = around.settings.state_dir
    state, _ = saved_state.load(directory)
    old = saved_state.of_base(directory, around.base.digest)
    assert state is not None
    assert old is not None
    assert (state.base_digest, old.base_digest) == ("f" * 64, around.base.digest)
    assert (state.regions["ring"].count, old.regions["ring"].count) == (31, 30)
    assert list(directory.glob("*.broken")) == []
    around.feed(1)
    around.train(OTHER, step=5)
    work.save()
    found = saved_state.of_base(directory, "f" * 64)
    assert found is not None
    assert found.regions["ring"].count == 31


def test_rows_of_another_base_model_are_neither_saved_nor_judged_on(around: Surroundings) -> None:
    """While the trainer goes from one to the other, snapshot and reservoirs may be of two: that moment is left out."""
    around.hold_out(around.base.with_weights(OTHER))
    around.feed(20)
    around.train(OTHER, step=5)
    around.holdout.claim(messages.lineage_of("f" * 64))
    work = work_of(around)
    work.save()
    assert saved_state.load(around.settings.state_dir) == (None, [])
    latest = work.export().latest
    assert latest is not None
    assert latest.state == "unproven"


def test_a_state_of_another_feature_count_is_set_aside(around: Surroundings) -> None:
    """It cannot be mixed with this ring."""
    around.settings.state_dir.mkdir(parents=True)
    saved_state.save(around.settings.state_dir, saved_state.SavedState(80))
    around.feed(3)
    work_of(around).save()
    assert saved(around) == (3, -1)
    assert len(list(around.settings.state_dir.glob("*.broken"))) == 1


def test_a_corrupt_state_is_set_aside_and_the_one_before_is_built_on(later: Surroundings) -> None:
    """The trainer's part comes from the file that is whole."""
    broken = later.settings.state_dir / "state-000000002.bin"
    broken.write_bytes(b"VMAFXST1 and then nothing")
    later.feed(31)
    work_of(later).save()
    assert saved(later) == (31, 4)
    assert [path.name for path in later.settings.state_dir.glob("*.broken")] == ["state-000000002.bin.broken"]


def stable_work(around: Surroundings) -> Jobs:
    """Return the work of an exporter that has published a stable checkpoint."""
    around.hold_out(around.base.with_weights(OTHER))
    around.train(OTHER, step=1)
    work = work_of(around)
    work.export()
    assert work.upkeep().stable is not None
    return work


@pytest.mark.parametrize("suffix", [".onnx", ".onnx.sha256", ".json"])
def test_without_the_last_stable_checkpoint_none_is_called_stable(around: Surroundings, suffix: str) -> None:
    """What cannot be compared with is no reason to call the next one better; the reason names the file."""
    work = stable_work(around)
    path = file_of(around.settings.checkpoint_dir, 1, suffix)
    path.write_bytes(path.read_bytes()[:10])
    latest = work.export().latest
    assert latest is not None
    assert latest.state == "unproven"
    assert latest.reason.startswith("last stable checkpoint: ")
    assert "model_v000001" in latest.reason


def test_another_base_model_is_not_compared_with_the_first_ones_checkpoints(around: Surroundings) -> None:
    """Nobody is told of them, the trainer neither; its own are judged without them, and they are there on return."""
    work, first, second = stable_work(around), around.base, small_model(seed=9)
    around.serve(second)
    overview = work.upkeep()
    assert (overview.stable, overview.announced) == (None, None)
    assert told(around) == 0
    around.train(OTHER, step=2)
    around.hold_out(second.with_weights(OTHER))
    latest = work.export().latest
    assert latest is not None
    assert latest.state == "stable"
    assert latest.metrics["held-out"].stable is None
    assert work.upkeep().stable == latest
    assert told(around) == 2
    around.serve(first)
    back = work.upkeep().stable
    assert back is not None
    assert (back.version, back.base_sha256) == (1, first.digest)
    assert told(around) == 1


def told(around: Surroundings) -> int:
    """Return the version whose weights the trainer has been handed; 0 for none."""
    letter = regions.attach_mailbox(around.settings, "stable")[0].read()
    assert letter is not None
    return messages.decode_stable(letter.payload).checkpoint
