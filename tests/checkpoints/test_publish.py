"""Publishing: pairs are whole at every instant, versions are never reused, everything derived can be done again."""

import errno
import resource
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NoReturn

import pytest

from pipeline.checkpoints import checkpoint as sidecar
from pipeline.checkpoints import pins, pointers
from pipeline.checkpoints.names import file_of, published
from pipeline.checkpoints.publish import next_version
from pipeline.checkpoints.reconcile import reconcile
from pipeline.model.verify import verify
from pipeline.registry import registry
from pipeline.runtime.locks import locked
from tests.support.checkpoints import publish_one, reconciled, small_model
from tests.support.dying import completes, kill, refuse


def broken_promises(directory: Path) -> list[str]:
    """List the models of a directory, pointers included, that do not verify."""
    models = sorted(directory.glob("*.onnx"))
    return [f"{path.name}: {check}" for path in models for check in verify(path) if not check.passed]


def test_a_published_model_has_its_digest_sidecar_entry_and_pointers(tmp_path: Path) -> None:
    """One publish and one reconcile give everything that the contract promises beside a model."""
    made = publish_one(tmp_path)
    reconciled(tmp_path, keep=5)
    assert file_of(tmp_path, 1, ".onnx.sha256").read_text() == made.sha256 + "\n"
    assert sidecar.read(tmp_path, 1) == made
    assert (tmp_path / "latest.onnx").resolve() == file_of(tmp_path, 1).resolve()
    assert (tmp_path / "latest-stable.onnx").resolve() == file_of(tmp_path, 1).resolve()
    (entry,) = registry.load(tmp_path).models
    assert (entry.onnx, entry.sha256, entry.opset) == ("model_v000001.onnx", made.sha256, 17)
    assert entry.notes == "stable: Because. Step 10, 100 samples."
    assert registry.verify(tmp_path) == []
    assert broken_promises(tmp_path) == []


def test_files_are_readable_by_others_and_writable_by_the_owner_only(tmp_path: Path) -> None:
    """The node runs under another user id: mode 0644, whatever the umask."""
    publish_one(tmp_path)
    reconciled(tmp_path, keep=5)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir() if path.is_file()}
    assert {mode for name, mode in modes.items() if not name.startswith(".")} == {0o644}


def _publish_and_settle(directory: Path) -> None:
    with locked(directory):
        publish_one(directory, seed=1)
        reconcile(directory, 2, small_model().digest)


@pytest.mark.parametrize("fault", [kill, pytest.param(refuse, marks=pytest.mark.long)])
def test_no_fault_at_any_change_to_the_disk_leaves_a_broken_model(
    tmp_path: Path, fault: Callable[[], NoReturn]
) -> None:
    """Killed or refused there: visible models verify, the next run finishes the work, no version is used twice."""
    digests: dict[int, str] = {}
    for step in range(1, 200):
        directory = tmp_path / str(step)
        directory.mkdir()
        for seed in (2, 3, 4):
            publish_one(directory, seed=seed)
        reconciled(directory, keep=2)
        finished = completes(partial(_publish_and_settle, directory), step, fault)
        assert broken_promises(directory) == [], f"{fault.__name__} at change {step}"
        assert (directory / "latest.onnx").exists()
        digests = {version: registry.digest_of(file_of(directory, version)) for version in published(directory)}
        reconciled(directory, keep=2)
        again = publish_one(directory, seed=5)
        reconciled(directory, keep=2)
        assert again.version > max(digests)
        assert broken_promises(directory) == []
        assert registry.verify(directory) == []
        assert list(directory.glob(".*.tmp")) == []
        assert (directory / "latest.onnx").resolve().name == file_of(directory, again.version).name
        if finished:
            assert step > 25, "the job changes the disk more often than this"
            return
    pytest.fail("the job never came to its end")


def test_orphans_of_a_dead_writer_use_up_their_version(tmp_path: Path) -> None:
    """A digest without a model was perhaps seen by a reader: its version is not given to another model."""
    file_of(tmp_path, 7, ".onnx.sha256").write_text("0" * 64 + "\n")
    file_of(tmp_path, 9, ".json").write_text("{}")
    assert next_version(tmp_path) == 10
    assert publish_one(tmp_path).version == 10
    reconciled(tmp_path, keep=5)
    assert sorted(p.name for p in tmp_path.glob("model_*")) == [
        "model_v000010.json",
        "model_v000010.onnx",
        "model_v000010.onnx.sha256",
    ]


def test_a_version_that_only_the_registry_knows_is_not_reused(tmp_path: Path) -> None:
    """An operator who removed the files has not made the version free."""
    registry.add(tmp_path, registry.Entry("model-v000031", "model_v000031.onnx", "0" * 64, 17))
    assert publish_one(tmp_path).version == 32


def test_retention_keeps_the_newest_the_stable_and_the_pinned(tmp_path: Path) -> None:
    """Ten checkpoints, the third stable, the first pinned, two kept."""
    for version in range(1, 11):
        publish_one(tmp_path, "stable" if version == 3 else "unproven", seed=version)
    pins.write(tmp_path, {1})
    reconciled(tmp_path, keep=2)
    assert published(tmp_path) == [1, 3, 9, 10]
    assert pointers.pointed(tmp_path, pointers.LATEST) == 10
    assert pointers.pointed(tmp_path, pointers.LATEST_STABLE) == 3
    assert [entry.id for entry in registry.load(tmp_path).models] == [f"model-v{v:06d}" for v in (1, 3, 9, 10)]


def test_foreign_registry_entries_and_files_are_left_alone(tmp_path: Path) -> None:
    """The directory may hold models of others."""
    foreign = registry.Entry("someone-elses", "theirs.onnx", "0" * 64, 17)
    registry.add(tmp_path, foreign)
    (tmp_path / "theirs.onnx").write_bytes(b"x")
    publish_one(tmp_path)
    reconciled(tmp_path, keep=1)
    assert foreign in registry.load(tmp_path).models
    assert (tmp_path / "theirs.onnx").exists()


def test_broken_pins_stop_the_removal_not_the_pointers(tmp_path: Path) -> None:
    """What is pinned is unknown then: nothing may go; readers still find the newest model."""
    for seed in range(3):
        publish_one(tmp_path, seed=seed)
    (tmp_path / pins.NAME).write_text("{")
    with pytest.raises(pins.PinsError, match=r"pins\.json"):
        reconciled(tmp_path, keep=1)
    assert published(tmp_path) == [1, 2, 3]
    assert (tmp_path / "latest.onnx").resolve().name == "model_v000003.onnx"


@pytest.fixture
def full_disk() -> Iterator[None]:
    """Let no file grow past 100 bytes in this process."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.usefixtures("full_disk")
def test_a_write_that_the_disk_refuses_leaves_nothing_behind(tmp_path: Path) -> None:
    """The error is the operating system's own; no temporary file stays, and no model appears."""
    with pytest.raises(OSError, match="too large") as refused:
        publish_one(tmp_path)
    assert refused.value.errno == errno.EFBIG
    assert sorted(path.name for path in tmp_path.iterdir()) == [".last-version", "model_v000001.onnx.sha256"]
    assert published(tmp_path) == []
