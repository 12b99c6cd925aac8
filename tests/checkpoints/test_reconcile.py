"""What follows from what lies in the directory: pointers, retention, and what is wrong; by what can be read of it."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.checkpoints import checkpoint as sidecar
from pipeline.checkpoints import commands, counter, pins, pointers
from pipeline.checkpoints.catalogue import KEPT_BASES
from pipeline.checkpoints.checkpoint import Checkpoint, CheckpointError, State, Verdict
from pipeline.checkpoints.names import file_of, published
from pipeline.checkpoints.publish import next_version, publish
from pipeline.checkpoints.reconcile import Overview, reconcile
from pipeline.registry import registry
from tests.support.checkpoints import CREATED, publish_one, reconciled, small_model

BASE = small_model()


def publish_of(directory: Path, base: str, state: State = "stable") -> Checkpoint:
    """Publish a checkpoint of the base model with this digest."""
    model = BASE.with_weights(BASE.vector() + len(published(directory)))
    verdict = Verdict(state, "Because.")
    return publish(directory, model, verdict, step=1, samples=1, created=CREATED, base=(base, base))


def stable_pointer(directory: Path) -> int | None:
    """Return the version that `latest-stable.onnx` leads to."""
    link = directory / "latest-stable.onnx"
    assert link.is_symlink() == link.exists()
    return int(link.resolve().stem.removeprefix("model_v")) if link.exists() else None


def problems(overview: Overview) -> str:
    """Return all that is wrong."""
    return "; ".join(map(str, overview.problems))


def replace(path: Path, how: Callable[[Path], object]) -> None:
    """Put something else in a file's place."""
    path.rename(path.with_name("elsewhere"))
    how(path)


def edit(path: Path, **changes: object) -> None:
    """Change values in a sidecar."""
    path.write_text(json.dumps(json.loads(path.read_bytes()) | changes))


UNREADABLE: dict[str, Callable[[Path], object]] = {
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:50]),
    "missing": Path.unlink,
    "a directory": lambda path: replace(path, Path.mkdir),
    "a link": lambda path: replace(path, lambda p: p.symlink_to("elsewhere")),
    "a pipe": lambda path: replace(path, os.mkfifo),
    "of another version": lambda path: edit(path, version=9),
    "of no time": lambda path: edit(path, created="yesterday"),
    "of too many samples": lambda path: edit(path, samples=10**30),
    "nested": lambda path: path.write_text('{"x": ' + "[" * 100_000),
}


@pytest.mark.parametrize("how", UNREADABLE)
def test_a_sidecar_that_cannot_be_read_leads_to_no_removal(tmp_path: Path, how: str) -> None:
    """The pointer stays, the files stay however old, and the problem names the file; mended, all is as before."""
    publish_one(tmp_path, "stable")
    reconciled(tmp_path, keep=1)
    path = file_of(tmp_path, 1, ".json")
    before = path.read_bytes()
    UNREADABLE[how](path)
    for _ in range(3):
        publish_one(tmp_path, "unproven")
        overview = reconcile(tmp_path, 1, BASE.digest)
    assert path.name in problems(overview)
    assert published(tmp_path) == [1, 4]
    assert stable_pointer(tmp_path) == 1
    assert overview.stable is None
    assert path.name in overview.incomparable
    assert [entry.id for entry in registry.load(tmp_path).models] == ["model-v000001", "model-v000004"]
    if path.is_dir():
        path.rmdir()
    path.unlink(missing_ok=True)
    path.write_bytes(before)
    mended = reconciled(tmp_path, keep=1)
    assert mended.stable is not None
    assert (mended.stable.version, mended.incomparable) == (1, "")


def test_an_input_output_error_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever file of the stable one cannot be read just now: nothing is removed, and the pointer stays."""
    for seed in range(3):
        publish_one(tmp_path, "unproven" if seed else "stable", seed)
    reconciled(tmp_path, keep=5)
    opened = os.open
    for suffix in (".json", ".onnx", ".onnx.sha256"):
        failing = str(file_of(tmp_path, 1, suffix))
        for error in (errno.EIO, errno.EMFILE, errno.EACCES):

            def sometimes(path: object, *args: int, failing: str = failing, error: int = error, **kwargs: int) -> int:
                if str(path) == failing:
                    raise OSError(error, os.strerror(error), failing)
                return opened(path, *args, **kwargs)  # type: ignore[arg-type]

            with monkeypatch.context() as patch:
                patch.setattr(os, "open", sometimes)
                overview = reconcile(tmp_path, 1, BASE.digest)
            assert f"model_v000001{suffix}" in problems(overview)
            assert overview.incomparable
            assert published(tmp_path) == [1, 3]
            assert stable_pointer(tmp_path) == 1
    assert reconciled(tmp_path, keep=1).incomparable == ""


def test_a_stable_model_that_is_broken_is_not_led_to(tmp_path: Path) -> None:
    """The one before it is; no candidate is compared with that as if it were the last; removed, all is in order."""
    for seed in range(3):
        publish_one(tmp_path, "stable", seed)
    reconciled(tmp_path)
    file_of(tmp_path, 3).write_bytes(file_of(tmp_path, 3).read_bytes()[:-1])
    overview = reconcile(tmp_path, 10, BASE.digest)
    assert "model_v000003.onnx: its digest is not the one in" in problems(overview)
    assert "model_v000003.onnx" in overview.incomparable
    assert (stable_pointer(tmp_path), pointers.pointed(tmp_path, pointers.LATEST)) == (2, 2)
    file_of(tmp_path, 3).unlink()
    assert reconciled(tmp_path).incomparable == ""
    assert publish_one(tmp_path).version == 4


def test_a_rollback_leaves_a_stable_checkpoint(tmp_path: Path) -> None:
    """Two stable ones outlive any number of unproven ones, so that there is one to go back to."""
    for seed in range(3):
        publish_one(tmp_path, "stable", seed)
    for seed in range(5):
        publish_one(tmp_path, "unproven", seed)
        reconciled(tmp_path, keep=2)
    assert published(tmp_path) == [2, 3, 7, 8]
    withdrawn, after = commands.roll_back(tmp_path)
    assert withdrawn.version == 3
    assert after.stable is not None
    assert (after.stable.version, stable_pointer(tmp_path)) == (2, 2)


def test_another_base_model_retires_the_stable_checkpoints_of_the_first(tmp_path: Path) -> None:
    """The pointer goes until there is a new one, nodes are told of none, and the first base finds its own again."""
    for _ in range(3):
        publish_of(tmp_path, "a")
    assert (reconciled(tmp_path, 1, "a").stable, stable_pointer(tmp_path)) == (sidecar.read(tmp_path, 3), 3)
    retired = reconciled(tmp_path, 1, "b")
    assert (retired.stable, retired.announced, retired.incomparable, stable_pointer(tmp_path)) == (None, None, "", None)
    assert pointers.pointed(tmp_path, pointers.LATEST) == 3
    publish_of(tmp_path, "b", "unproven")
    assert reconciled(tmp_path, 1, "b").announced == sidecar.read(tmp_path, 4)
    publish_of(tmp_path, "b")
    assert reconciled(tmp_path, 1, "b").stable == sidecar.read(tmp_path, 5)
    assert published(tmp_path) == [2, 3, 5]
    assert reconciled(tmp_path, 1, "a").stable == sidecar.read(tmp_path, 3)
    assert stable_pointer(tmp_path) == 3


def test_while_the_base_model_is_not_known_the_pointer_stays_as_it_is(tmp_path: Path) -> None:
    """Nothing is removed and nobody is told of a checkpoint; a pointer that is away stays away."""
    for base in "aab":
        publish_of(tmp_path, base)
    reconciled(tmp_path, 1, "a")
    unknown = reconcile(tmp_path, 1, None)
    assert (unknown.stable, unknown.announced) == (sidecar.read(tmp_path, 2), None)
    assert published(tmp_path) == [1, 2, 3]
    reconciled(tmp_path, 1, "c")
    assert reconcile(tmp_path, 1, None).stable is None
    assert stable_pointer(tmp_path) is None


def test_a_rollback_stays_with_the_base_model(tmp_path: Path) -> None:
    """A stable checkpoint of another one is no way back."""
    for base in "aab":
        publish_of(tmp_path, base)
    reconciled(tmp_path, 10, "b")
    assert commands.roll_back(tmp_path)[1].stable is None
    with pytest.raises(CheckpointError, match="no checkpoint is stable"):
        commands.roll_back(tmp_path)
    reconciled(tmp_path, 10, "a")
    after = commands.roll_back(tmp_path)[1]
    assert after.stable is not None
    assert after.stable.version == 1


def test_the_number_of_base_models_is_bounded(tmp_path: Path) -> None:
    """The newest ones are kept, and the current one however old its checkpoints."""
    for number in range(KEPT_BASES + 3):
        publish_of(tmp_path, str(number))
    reconciled(tmp_path, 1, "0")
    assert published(tmp_path) == [1, *range(5, 5 + KEPT_BASES - 1)]


@pytest.mark.parametrize(
    ("name", "is_named"),
    [
        (".v1-old", False),
        (".v000009x", False),
        (".x.tmp", False),
        ("model_v0000001.onnx", True),
        ("model_v000000.onnx", True),
        ("model_v999999999999.onnx", True),
        ("model_v999999999999.json", True),
        ("model_v000001.onnx.tmp", True),
    ],
)
@pytest.mark.parametrize("kind", ["directory", "file", "link"])
def test_strange_names_are_left_alone(tmp_path: Path, name: str, is_named: bool, kind: str) -> None:
    """Publishing and retention go on; the verifier names what looks like a checkpoint and is none."""
    from pipeline.fsck import files

    path = tmp_path / name
    if kind == "directory":
        path.mkdir()
        (path / "theirs").touch()
    elif kind == "file":
        path.touch()
    else:
        path.symlink_to("nowhere")
    for seed in range(3):
        publish_one(tmp_path, seed=seed)
        reconciled(tmp_path, keep=1)
    assert published(tmp_path) == [2, 3]
    assert stable_pointer(tmp_path) == 3
    assert os.path.lexists(path) == (kind == "directory" or not name.endswith(".x.tmp"))
    unsound = {each.what for each in files.check(tmp_path) if not each.sound}
    assert unsound == ({name} if is_named else set())


@pytest.mark.parametrize("suffix", [".onnx", ".onnx.sha256", ".json"])
@pytest.mark.parametrize("kind", ["directory", "link"])
def test_what_is_no_file_is_no_checkpoint_and_is_not_removed(tmp_path: Path, suffix: str, kind: str) -> None:
    """A version of which something else has the name is not given again."""
    path = file_of(tmp_path, 4, suffix)
    path.mkdir() if kind == "directory" else path.symlink_to("nowhere")
    assert next_version(tmp_path) == 5
    for seed in range(3):
        publish_one(tmp_path, "unproven", seed=seed)
        reconciled(tmp_path, keep=1)
    assert published(tmp_path) == [7]
    assert os.path.lexists(path)


def test_at_the_last_version_the_reason_is_said(tmp_path: Path) -> None:
    """A name of somebody else's may have it; without it, numbers go on where they were."""
    publish_one(tmp_path)
    file_of(tmp_path, 999_999_999).touch()
    with pytest.raises(CheckpointError, match="model_v999999999 is taken"):
        publish_one(tmp_path)
    reconcile(tmp_path, 10, BASE.digest)
    file_of(tmp_path, 999_999_999).unlink()
    assert publish_one(tmp_path).version == 2


def test_a_version_is_not_given_again_after_its_files_were_removed(tmp_path: Path) -> None:
    """Nor where the registry has been brought in line since; nor, without the count, above what the caller knows."""
    for seed in range(3):
        publish_one(tmp_path, seed=seed)
    reconciled(tmp_path)
    for path in [*tmp_path.glob("model_v000002*"), *tmp_path.glob("model_v000003*")]:
        path.unlink()
    reconciled(tmp_path)
    assert [entry.id for entry in registry.load(tmp_path).models] == ["model-v000001"]
    assert publish_one(tmp_path).version == 4
    (tmp_path / counter.NAME).write_text("?")
    file_of(tmp_path, 4).unlink()
    assert reconcile(tmp_path, 10, BASE.digest, floor=17).problems == ()
    assert publish_one(tmp_path).version == 18


def test_a_count_that_the_registry_alone_knows_is_kept(tmp_path: Path) -> None:
    """Its entry goes with the files; the number does not come back."""
    registry.add(tmp_path, registry.Entry("model-v000031", "model_v000031.onnx", "0" * 64, 17))
    reconciled(tmp_path)
    assert registry.load(tmp_path).models == ()
    assert publish_one(tmp_path).version == 32


def test_what_is_broken_keeps_nothing_else_from_being_done(tmp_path: Path) -> None:
    """Pins, registry and a pointer at once: every problem is told, and the other pointer leads where it has to."""
    for seed in range(3):
        publish_one(tmp_path, seed=seed)
    (tmp_path / pins.NAME).mkdir()
    (tmp_path / registry.NAME).write_text("[")
    (tmp_path / "latest.onnx").mkdir()
    overview = reconcile(tmp_path, 1, BASE.digest)
    for name in (pins.NAME, registry.NAME, "latest.onnx"):
        assert name in problems(overview)
    assert published(tmp_path) == [1, 2, 3]
    assert stable_pointer(tmp_path) == 3


def test_a_pointer_that_was_tampered_with_is_mended(tmp_path: Path) -> None:
    """A directory or a link in the place of the links, or of the directory that they are in."""
    publish_one(tmp_path)
    reconciled(tmp_path)
    pair = tmp_path / ".v000001"
    outside = tmp_path / "outside"
    outside.mkdir()
    (pair / "model.onnx").unlink()
    (pair / "model.onnx").mkdir()
    (tmp_path / "latest.onnx").unlink()
    (tmp_path / "latest.onnx").write_bytes(b"not a link")
    reconciled(tmp_path)
    assert (tmp_path / "latest.onnx").resolve() == file_of(tmp_path, 1).resolve()
    shutil.rmtree(pair)
    pair.symlink_to(outside)
    reconciled(tmp_path)
    assert stable_pointer(tmp_path) == 1
    assert list(outside.iterdir()) == []
