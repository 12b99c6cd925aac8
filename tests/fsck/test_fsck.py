"""The verifier: silent on what is sound, and finds each thing that is not, by name."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result

from pipeline import config
from pipeline.checkpoints.names import file_of
from pipeline.cli import cli
from pipeline.fsck import cli as fsck_cli
from pipeline.runtime import control, messages, regions, saved_state
from pipeline.runtime.control import Control, Order, Withdrawn, withdrawn_model
from pipeline.runtime.saved_state import SavedRows, SavedState
from pipeline.shm.ring import Ring
from pipeline.shm.rows import RowBatch
from tests.support.checkpoints import publish_one, reconciled, small_model
from tests.support.rows import append


@pytest.fixture(autouse=True)
def _in_no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is at work here: there is no use in looking twice."""
    monkeypatch.setattr(fsck_cli, "_LOOKS", 1)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return a directory with three checkpoints and a saved state."""
    made = tmp_path / "models"
    made.mkdir()
    for seed in range(3):
        publish_one(made, seed=seed)
        reconciled(made, keep=10)
    (made / "state").mkdir()
    saved_state.save(made / "state", SavedState(6, regions={"ring": SavedRows(np.zeros((0, 18), np.float32), 0)}))
    control.change(
        config.load({"VMAFX_SIDECAR_CHECKPOINT_DIR": str(made)}),
        "rollback of version 1",
        "",
        partial(_withdraw, made / "state"),
    )
    return made


def _withdraw(state: Path, now: Control, order: Order) -> Control:
    withdrawn = Withdrawn(number=order.number, version=1, sha256="c" * 64, base_digest="b" * 64)
    withdrawn_model(state, withdrawn).touch()
    return msgspec.structs.replace(now, withdrawn=(withdrawn,))


def fsck(*arguments: object) -> Result:
    """Run the command."""
    return CliRunner().invoke(cli, ["fsck", *map(str, arguments)])


def unsound(directory: Path) -> dict[str, str]:
    """Return what is found in a directory, by name."""
    result = fsck("--dir", directory, "--socket", directory / "s", "--json")
    found = json.loads(result.stdout)
    bad = {each["what"]: each["detail"] for each in found["findings"] if not each["sound"]}
    assert (found["sound"], result.exit_code) == (not bad, 1 if bad else 0)
    return bad


def test_a_sound_directory(directory: Path) -> None:
    """Every thing that was looked at is listed, and the exit code is 0."""
    result = fsck("--dir", directory, "--socket", directory / "s")
    assert result.exit_code == 0, result.output
    for name in (
        "model_v000001.onnx",
        "model_v000003.onnx",
        "registry.json",
        "latest.onnx",
        "state-000000001.bin",
        "control.json",
    ):
        assert f"ok    {name}" in result.output


def test_looking_leaves_no_trace(directory: Path) -> None:
    """Run by root on another user's directory, a lock file of root's would keep the exporter out."""
    before = sorted((path.name, path.lstat().st_mtime_ns) for path in directory.rglob("*"))
    fsck("--dir", directory, "--socket", directory / "s")
    assert before == sorted((path.name, path.lstat().st_mtime_ns) for path in directory.rglob("*"))


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _turn_back(pointer: Path) -> None:
    pointer.unlink()
    pointer.symlink_to(".v000001")


def _make_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _circle(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a flipped bit in a model": (lambda d: _flip(file_of(d, 2)), "model_v000002.onnx"),
    "a digest that is missing": (lambda d: file_of(d, 2, ".onnx.sha256").unlink(), "model_v000002.onnx"),
    "a sidecar that is missing": (lambda d: file_of(d, 2, ".json").unlink(), "model_v000002.onnx"),
    "another model's sidecar": (
        lambda d: file_of(d, 2, ".json").write_bytes(file_of(d, 1, ".json").read_bytes()),
        "model_v000002.onnx",
    ),
    "a broken registry": (lambda d: (d / "registry.json").write_text("{"), "registry.json"),
    "a model that is not listed": (lambda d: (d / "registry.json").unlink(), "registry.json"),
    "a pointer that leads to an old version": (lambda d: _turn_back(d / ".latest"), "latest.onnx"),
    "a model that is a link in circles": (lambda d: _circle(file_of(d, 2)), "model_v000002.onnx"),
    "a directory in the place of a sidecar": (lambda d: _make_directory(file_of(d, 2, ".json")), "model_v000002.json"),
    "a pointer that is a directory": (lambda d: _make_directory(d / "latest.onnx"), "latest.onnx"),
    "a checkpoint's name of seven digits": (lambda d: (d / "model_v0000002.onnx").touch(), "model_v0000002.onnx"),
    "broken pins": (lambda d: (d / "pins.json").write_text("["), "pins.json"),
    "broken orders": (lambda d: (d / "state/control.json").write_text("["), "control.json"),
    "a withdrawn model that is missing": (lambda d: next(d.glob("state/withdrawn-*")).unlink(), "control.json"),
    "a flipped bit in the state": (lambda d: _flip(d / "state/state-000000001.bin"), "state-000000001.bin"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_found(directory: Path, damage: str) -> None:
    """By the name of the file that is damaged."""
    do, name = DAMAGE[damage]
    do(directory)
    assert name in unsound(directory)


def memory_findings(instance: str) -> dict[str, str]:
    """Return what is unsound in the memory of an instance."""
    from pipeline.fsck import memory

    return {finding.what: finding.detail for finding in memory.check(instance) if not finding.sound}


@pytest.fixture
def settings(instance: str) -> config.Settings:
    """Return settings of an instance of this test's own."""
    return config.load({"VMAFX_SIDECAR_INSTANCE": instance, "VMAFX_SIDECAR_N_FEATURES": "6"})


def filled_ring(settings: config.Settings) -> Ring:
    """Make the ring and put more into it than it holds."""
    ring, _ = regions.own_ring(settings)
    ring.begin()
    for i in range(12_000):
        append(ring, i, i, 50.0, [1.0] * 6)
    return ring


def test_sound_memory(settings: config.Settings, instance: str) -> None:
    """Also of a stopped sidecar, and of one that has just begun."""
    assert memory_findings(instance) == {}
    filled_ring(settings)
    regions.own_reservoir(settings, "reservoir", 64)
    regions.own_mailbox(settings, "weights", 1000)
    assert memory_findings(instance) == {}


def test_damaged_memory_is_found(settings: config.Settings, instance: str) -> None:
    """A sample that vanished, one that cannot be, a reservoir row that is not whole, weights that do not decode."""
    ring = filled_ring(settings)
    ring.rows.view(np.int64)[5000 % ring.slots, 0] = 17
    assert memory_findings(instance)["ring"].endswith("are missing")
    ring.rows.view(np.int64)[5000 % ring.slots, 0] = 5000
    RowBatch.over(ring.rows, ring.n_features).features[6000 % ring.slots, -1] = np.nan
    assert "1 rows have non-finite features or a score outside 0 to 100" in memory_findings(instance)["ring"]
    reservoir, _ = regions.own_reservoir(settings, "reservoir", 64)
    reservoir.restore(ring.snapshot()[0].words[:10], 10, 1)
    RowBatch.over(reservoir.rows, 6).features[3, 0] += 1
    assert memory_findings(instance)["reservoir"] == "1 of 10 rows are incomplete"
    weights, _ = regions.own_mailbox(settings, "weights", 1000)
    weights.publish(b"no snapshot")
    model, _ = regions.own_mailbox(settings, "model", 10_000)
    base = small_model()
    model.publish(messages.encode(messages.ServedModel(name=base.name, digest=base.digest, onnx=base.serialized)))
    found = memory_findings(instance)
    assert "weights" in found
    assert "model" not in found


def test_nothing_to_look_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a directory nor a sidecar: the code of commands that find none, and a line."""
    monkeypatch.setenv("VMAFX_SIDECAR_CHECKPOINT_DIR", str(tmp_path / "none"))
    result = fsck("--socket", tmp_path / "s")
    assert result.exit_code == 3
    assert "neither a checkpoint directory nor a sidecar" in result.stderr
