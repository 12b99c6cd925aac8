"""The registry command on a model that the train command made."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.offline.cli import train
from pipeline.registry import registry as index
from pipeline.registry.cli import registry


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return an untrained model with its sidecar."""
    result = CliRunner().invoke(train, ["--epochs", "0", "--assume-dims", "16x16", "-o", str(tmp_path)])
    assert result.exit_code == 0, result.output
    return tmp_path / "mlp_small.onnx"


def run(*arguments: str | Path) -> tuple[int, str]:
    """Call the command; exit status and all output."""
    result = CliRunner().invoke(registry, [str(argument) for argument in arguments])
    return result.exit_code, result.output


def test_added_model_is_listed_and_verifies(model: Path) -> None:
    """Adding writes the entry with the digest of the file, and a card that says how the model was made."""
    assert run("add", model, "--id", "tiny")[0] == 0
    (entry,) = index.load(model.parent).models
    assert (entry.id, entry.onnx, entry.sha256) == ("tiny", "mlp_small.onnx", index.digest_of(model))
    assert "tiny  mlp_small.onnx  opset 17" in run("list", model.parent)[1]
    assert run("verify", model.parent) == (0, "1 model is intact\n")
    card = model.with_suffix(".md").read_text()
    assert "vmafx-sidecar train" in card
    assert entry.sha256 in card


def test_several_models_are_counted_in_the_plural(model: Path) -> None:
    """And none at all is said in words."""
    (model.parent / index.NAME).write_text('{"schema_version": 1, "models": []}')
    assert run("list", model.parent) == (0, f"{model.parent / index.NAME}: no model is registered\n")
    run("add", model, "--id", "one")
    run("add", model, "--id", "two")
    assert run("verify", model.parent) == (0, "2 models are intact\n")


@pytest.mark.parametrize("command", ["list", "verify"])
def test_a_directory_without_a_registry_is_said_to_have_none(tmp_path: Path, command: str) -> None:
    """With the command that makes one."""
    status, output = run(command, tmp_path)
    assert status == 1
    assert output == f"Error: {tmp_path}/registry.json: no such file; `vmafx-sidecar registry add` makes it\n"


def test_verify_fails_on_a_changed_model(model: Path) -> None:
    """One changed byte makes the command exit with 1 and name the model."""
    run("add", model)
    model.write_bytes(model.read_bytes() + b"\0")
    status, output = run("verify", model.parent)
    assert status == 1
    assert "mlp_small: mlp_small.onnx has digest" in output


def test_another_model_under_an_id_needs_replace(model: Path) -> None:
    """A retrained model does not silently take an id: `--replace` says that it may."""
    run("add", model, "--notes", "first")
    assert run("add", model, "--notes", "second")[0] == 1
    assert run("add", model, "--notes", "second", "--replace")[0] == 0
    assert [entry.notes for entry in index.load(model.parent).models] == ["second"]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda model: model.with_suffix(".json").unlink(), "No such file"),
        (lambda model: model.with_suffix(".json").write_text("{}"), "missing required field"),
        (lambda model: model.write_bytes(b"another"), "digest"),
    ],
)
def test_add_refuses_a_model_without_its_sidecar(model: Path, damage: object, reason: str) -> None:
    """A model whose sidecar is absent, empty or another's is refused in one line, and nothing is registered."""
    assert callable(damage)
    damage(model)
    status, output = run("add", model)
    assert status == 1
    assert reason in output
    assert len(output.splitlines()) == 1
    assert index.load(model.parent).models == ()


def test_unfit_identifier_is_refused(model: Path) -> None:
    """An id with capitals is refused, and the registry is not written."""
    status, output = run("add", model, "--id", "Tiny Model")
    assert status == 1
    assert "models[0].id" in output
    assert not (model.parent / index.NAME).exists()
