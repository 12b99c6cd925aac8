"""`checkpoints`, `pin`, `unpin`, `rollback`, as an operator types them."""

import json
from pathlib import Path

import msgspec
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result

from pipeline.checkpoints import checkpoint as sidecar
from pipeline.checkpoints import cli, pins
from pipeline.checkpoints.names import file_of
from pipeline.console import orders
from pipeline.registry import registry
from pipeline.runtime import control
from tests.support.checkpoints import publish_one, reconciled

COMMANDS = {"checkpoints": cli.checkpoints, "pin": cli.pin, "unpin": cli.unpin, "rollback": orders.rollback}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Publish four checkpoints, the second and the last stable."""
    for seed, state in enumerate(("unproven", "stable", "unstable", "stable")):
        publish_one(tmp_path, state, seed)  # type: ignore[arg-type]
    reconciled(tmp_path, keep=10)
    return tmp_path


def call(directory: Path, command: str, *arguments: str) -> Result:
    """Run a command with the directory in the environment."""
    environment = {"VMAFX_SIDECAR_CHECKPOINT_DIR": str(directory), "COLUMNS": "120"}
    return CliRunner().invoke(COMMANDS[command], list(arguments), env=environment)


def test_the_list_shows_every_checkpoint_and_who_points_at_it(directory: Path) -> None:
    """One line each, oldest first."""
    pins.write(directory, {1})
    lines = [line.split() for line in call(directory, "checkpoints").output.splitlines() if line.strip()[:1].isdigit()]
    assert [(line[0], line[5]) for line in lines] == [
        ("1", "unproven"),
        ("2", "stable"),
        ("3", "unstable"),
        ("4", "stable"),
    ]
    assert lines[0][-1] == "pinned"
    assert lines[3][-2:] == ["latest,", "latest-stable"]


def test_the_list_as_json_is_what_the_sidecars_say(directory: Path) -> None:
    """With the pins added."""
    listed = json.loads(call(directory, "checkpoints", "--json").output)
    assert [(each["version"], each["state"], each["pinned"]) for each in listed][1] == (2, "stable", False)
    assert listed[3]["sha256"] == registry.digest_of(file_of(directory, 4))


def test_list_is_what_the_command_alone_shows(directory: Path) -> None:
    """Whoever looks for `list` finds it, with the same options."""
    for options in ((), ("--json",), ("--directory", str(directory))):
        listed = call(directory, "checkpoints", "list", *options)
        assert (listed.exit_code, listed.output) == (0, call(directory, "checkpoints", *options).output)


@pytest.mark.parametrize(("pointer", "version"), [("latest", 4), ("latest-stable", 2)])
def test_a_pointer_stands_for_the_version_that_it_leads_to(directory: Path, pointer: str, version: int) -> None:
    """In every command that takes a version."""
    call(directory, "rollback")
    shown = call(directory, "checkpoints", "show", pointer, "--json").output
    assert json.loads(shown)["version"] == version
    compared = call(directory, "checkpoints", "diff", "1", pointer, "--json").output
    assert [each["version"] for each in json.loads(compared)["checkpoints"]] == [1, version]
    assert call(directory, "pin", pointer).output == f"{version} is pinned\n"
    assert pins.read(directory) == {version}
    assert call(directory, "unpin", pointer).output == f"{version} is no longer pinned\n"


def test_versions_are_completed(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pointers and what is published, newest first; for `unpin` what is pinned; nothing where there is no directory."""

    def offered(command: str, *arguments: str, incomplete: str = "") -> list[str]:
        completion = ShellComplete(COMMANDS[command], {}, command, "_COMPLETE")
        return [item.value for item in completion.get_completions(list(arguments), incomplete)]

    monkeypatch.setenv("VMAFX_SIDECAR_CHECKPOINT_DIR", str(directory))
    pins.write(directory, {1, 3})
    everything = ["latest", "latest-stable", "4", "3", "2", "1"]
    assert offered("checkpoints", "show") == everything
    assert offered("checkpoints", "diff", "4") == everything
    assert offered("pin", incomplete="l") == ["latest", "latest-stable"]
    assert offered("unpin") == ["3", "1"]
    monkeypatch.setenv("VMAFX_SIDECAR_CHECKPOINT_DIR", "/nowhere")
    assert offered("pin") == []
    assert offered("checkpoints", "--directory", str(directory), "show", incomplete="4") == ["4"]
    assert offered("pin", "--directory", str(directory), incomplete="4") == ["4"]


@pytest.mark.parametrize(
    "command", [("checkpoints", "list"), ("checkpoints", "show"), ("checkpoints", "diff"), *COMMANDS]
)
def test_help_needs_no_directory(command: str | tuple[str, ...]) -> None:
    """Nor usable settings."""
    name, *more = (command,) if isinstance(command, str) else command
    environment = {"VMAFX_SIDECAR_CHECKPOINT_DIR": "/nowhere", "VMAFX_SIDECAR_LR": "x"}
    result = CliRunner().invoke(COMMANDS[name], [*more, "--help"], env=environment)
    assert (result.exit_code, result.output[:6]) == (0, "Usage:")


def test_show_and_diff(directory: Path) -> None:
    """All facts of one; the weights that moved between two."""
    shown = call(directory, "checkpoints", "show", "model_v000003").output
    assert "unstable" in shown
    assert "Because." in shown
    moved = json.loads(call(directory, "checkpoints", "diff", "1", "2", "--json").output)["weights"]
    assert [each["name"] for each in moved] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert all(each["moved"] > 0 for each in moved)
    same = json.loads(call(directory, "checkpoints", "diff", "1", "1", "--json").output)["weights"]
    assert all(each["moved"] == 0 for each in same)


def test_show_has_figures_by_owner(directory: Path) -> None:
    """A line for each part of the rows; a name is shown as its node sent it, and a missing figure is empty."""
    by = {
        "node": {"rack [red]7": sidecar.Part(1234, 1.23456, 9.5), "not named": sidecar.Part(5, None, 2.0)},
        "height": {"1080": sidecar.Part(60, 0.5, 0.25)},
    }
    made = sidecar.read(directory, 3)
    sidecar.rewrite(directory, msgspec.structs.replace(made, metrics={"held-out": sidecar.GateMetrics(1239, 8, by=by)}))
    shown = {" ".join(line.split()) for line in call(directory, "checkpoints", "show", "3").output.splitlines()}
    assert {
        "held-out: rows, groups 1,239, 8",
        "held-out: node rack [red]7: rows, RMSE, base 1,234, 1.235, 9.5",
        "held-out: node not named: rows, RMSE, base 5, , 2",
        "held-out: height 1080: rows, RMSE, base 60, 0.5, 0.25",
    } <= shown


def test_what_others_have_written_is_shown_as_it_is(tmp_path: Path) -> None:
    """Brackets and colons in a reason, a model's name or a directory are no instructions to the terminal."""
    directory = tmp_path / "models [red]"
    directory.mkdir()
    made = publish_one(directory, "unproven", seed=0)
    reason = "needs pyarrow (pip install 'vmafx-sidecar[corpus]') [/] :fire:"
    sidecar.rewrite(directory, msgspec.structs.replace(made, reason=reason, base_model="tiny[v2].onnx"))
    shown = call(directory, "checkpoints", "show", "1").output
    assert reason in shown
    assert "tiny[v2].onnx" in shown
    assert "models [red]" in "".join(call(directory, "checkpoints").output.split("\n"))


def test_a_pinned_checkpoint_outlives_the_others(directory: Path) -> None:
    """Until it is unpinned."""
    assert call(directory, "pin", "v000001").exit_code == 0
    reconciled(directory, keep=1)
    assert file_of(directory, 1).exists()
    assert not file_of(directory, 3).exists()
    assert call(directory, "unpin", "1").exit_code == 0
    reconciled(directory, keep=1)
    assert not file_of(directory, 1).exists()


def test_rollback_goes_back_one_stable_checkpoint_at_a_time(directory: Path) -> None:
    """Pointer, sidecar and registry agree; the withdrawn files stay; with none left it is an error."""
    output = call(directory, "rollback").output
    assert output.startswith(
        "model_v000004 is withdrawn; latest-stable is model_v000002; training starts over from ver"
    )
    in_force = control.read(directory / "state").control
    assert in_force.reset is not None
    assert (in_force.reset.to, [each.version for each in in_force.withdrawn]) == ("2", [4])
    assert (directory / "latest-stable.onnx").resolve().name == "model_v000002.onnx"
    withdrawn = sidecar.read(directory, 4)
    assert withdrawn.state == "unstable"
    assert withdrawn.reason.startswith("Withdrawn by an operator at 20")
    assert withdrawn.reason.endswith("; before: Because.")
    assert file_of(directory, 4).exists()
    assert registry.load(directory).models[3].notes.startswith("unstable: Withdrawn")
    assert json.loads(call(directory, "rollback", "--json").output) == {"withdrawn": 2, "stable": None}
    assert not (directory / "latest-stable.onnx").is_symlink()
    assert (directory / "latest.onnx").resolve().name == "model_v000004.onnx"
    assert call(directory, "rollback").exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("pin", "77"), "model_v000077 is not published"),
        (("unpin", "1"), "model_v000001 is not pinned"),
        (("pin", "newest"), "'newest': expected a version such as 42"),
        (("checkpoints", "show", "77"), "model_v000077.json: No such file"),
        (("checkpoints", "diff", "1", "77"), "model_v000077.json: No such file"),
        (("checkpoints", "--directory", "/nowhere"), "/nowhere: no such directory"),
        (("pin", "1", "--directory", "/nowhere"), "/nowhere: no such directory"),
    ],
)
def test_a_mistake_is_one_line(directory: Path, arguments: tuple[str, ...], message: str) -> None:
    """It names what was wrong, and nothing is changed."""
    before = sorted(path.name for path in directory.glob("[!.]*"))
    result = call(directory, *arguments)
    assert result.exit_code in (1, 2)
    assert message in result.output
    assert "Traceback" not in result.output
    assert sorted(path.name for path in directory.glob("[!.]*")) == before


def test_a_pointer_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    """Before the first stable checkpoint."""
    publish_one(tmp_path, "unproven", seed=0)
    reconciled(tmp_path, keep=1)
    result = call(tmp_path, "checkpoints", "show", "latest-stable")
    assert (result.exit_code, result.output) == (1, f"Error: {tmp_path}: latest-stable leads to no checkpoint\n")


def test_a_broken_pins_file_is_named(directory: Path) -> None:
    """And left for its owner to mend."""
    (directory / pins.NAME).write_text('{"pinned": ["x"]}')
    result = call(directory, "pin", "1")
    assert result.exit_code == 1
    assert "pins.json" in result.output
    assert (directory / pins.NAME).read_text() == '{"pinned": ["x"]}'


def test_a_sidecar_that_cannot_be_read_is_named(directory: Path) -> None:
    """Beside the list of the others."""
    file_of(directory, 3, ".json").write_text("{")
    result = call(directory, "checkpoints", "--json")
    assert [each["version"] for each in json.loads(result.stdout)] == [1, 2, 4]
    assert "model_v000003.json: " in result.stderr
