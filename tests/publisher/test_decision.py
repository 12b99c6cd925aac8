"""When the pointer moves: every case of a directory and of what the pointer leads to."""

from pathlib import Path

import msgspec
import pytest

from pipeline.artifacts.artifact import Artifact, Manifest, read_manifest, withdrawn
from pipeline.artifacts.published import of_checkpoint
from pipeline.checkpoints import commands
from pipeline.checkpoints.catalogue import Digests
from pipeline.checkpoints.checkpoint import Checkpoint, rewrite
from pipeline.checkpoints.names import SUFFIXES, file_of
from pipeline.publisher.decision import Step, decide
from pipeline.publisher.directory import look
from tests.support.checkpoints import publish_one, reconciled, small_model

EARLIER, LATER = "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"


def manifest(artifact: Artifact) -> Manifest:
    """Return what a pointer to an artifact leads to."""
    return read_manifest(artifact.manifest(), "here")


def elsewhere(tmp_path: Path, created: str) -> Manifest:
    """Return a checkpoint of another sidecar, made at that time, with a high version."""
    directory = tmp_path / "elsewhere"
    directory.mkdir()
    for seed in range(7, 10):
        made = publish_one(directory, seed=seed)
    rewrite(directory, msgspec.structs.replace(made, created=created))
    return manifest(of_checkpoint(directory, made.version))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Make a directory with two stable checkpoints and an unstable one after them."""
    path = tmp_path / "online"
    path.mkdir()
    publish_one(path, seed=1)
    publish_one(path, seed=2)
    publish_one(path, "unstable", seed=3)
    reconciled(path)
    return path


def step(directory: Path, there: Manifest | None, *, is_ours: bool = False) -> Step:
    """Decide."""
    return decide(look(directory, Digests()), there, is_ours=is_ours)


def test_the_first_one_is_pushed_and_no_other(directory: Path, tmp_path: Path) -> None:
    """Nothing there: the newest stable one; nothing stable: nothing."""
    assert step(directory, None) is Step.PUSH
    empty = tmp_path / "empty"
    empty.mkdir()
    publish_one(empty, "unproven")
    reconciled(empty)
    assert step(empty, None) is Step.STAY


def test_within_a_directory_the_version_counts(directory: Path) -> None:
    """The newest stays; an older one gives way, whatever the clock said when they were made."""
    newest = manifest(of_checkpoint(directory, 2))
    assert step(directory, newest) is Step.STAY
    first = look(directory, Digests()).known[1]
    rewrite(directory, msgspec.structs.replace(first, created=LATER))
    assert step(directory, manifest(of_checkpoint(directory, 1))) is Step.PUSH


@pytest.mark.parametrize(("created", "expected"), [(EARLIER, Step.PUSH), (LATER, Step.STAY)])
def test_between_directories_the_time_counts(directory: Path, tmp_path: Path, created: str, expected: Step) -> None:
    """An older one of another sidecar gives way, a newer one stays."""
    assert step(directory, elsewhere(tmp_path, created)) is expected


def test_a_withdrawn_version_gives_way_to_the_one_before(directory: Path) -> None:
    """And the next to nothing; what stands for nothing gives way to what is stable after it."""
    second, first = (manifest(of_checkpoint(directory, version)) for version in (2, 1))
    commands.roll_back(directory)
    assert step(directory, second) is Step.BACK
    commands.roll_back(directory)
    assert step(directory, first) is Step.WITHDRAW
    nothing = manifest(withdrawn(first.annotations["dev.vmafx.model.sha256"]))
    assert step(directory, nothing) is Step.STAY
    publish_one(directory, seed=4)
    reconciled(directory)
    assert step(directory, nothing) is Step.PUSH


def test_a_version_of_another_base_model_is_withdrawn(directory: Path) -> None:
    """When the sidecar has another base model now, and no stable checkpoint of it."""
    newest = manifest(of_checkpoint(directory, 2))
    reconciled(directory, base=small_model(seed=5).digest)
    assert step(directory, newest) is Step.WITHDRAW


def test_a_removed_version_is_withdrawn_by_the_one_that_pushed_it(directory: Path) -> None:
    """Another publisher cannot tell it from a model of another sidecar."""
    newest = manifest(of_checkpoint(directory, 2))
    for suffix in SUFFIXES:
        file_of(directory, 2, suffix).unlink()
    reconciled(directory)
    assert step(directory, newest, is_ours=True) is Step.BACK
    assert step(directory, newest) is Step.STAY


def test_an_empty_directory_withdraws_nothing(directory: Path, tmp_path: Path) -> None:
    """As a volume that is not mounted, or a new one."""
    newest = manifest(of_checkpoint(directory, 2))
    (tmp_path / "new").mkdir()
    for is_ours in (False, True):
        assert step(tmp_path / "new", newest, is_ours=is_ours) is Step.STAY


def test_a_sidecar_that_cannot_be_read_withdraws_nothing(directory: Path) -> None:
    """The version that it is of stays where it is."""
    newest: Checkpoint = look(directory, Digests()).known[2]
    there = manifest(of_checkpoint(directory, 2))
    file_of(directory, 1, ".json").write_text("garbage")
    assert step(directory, there) is Step.STAY
    assert newest.version == 2
