"""The commands as a script uses them: JSON on standard output, one line, and an exit status."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pipeline.correction.cli import correct

CAPTURE = {"features": {"fps": 24, "width": 1920}, "crf": 28, "predicted": 91.2, "observed": 93.8}
QUERY = {"features": {"width": 1920, "fps": 24}, "crf": 28, "predicted": 91.2}


def call(cache: Path, command: str, data: object = None, *extra: str) -> Result:
    """Run one command on the state below `cache`."""
    arguments = [command, "--codec", "libx264", "--cache-dir", str(cache), *extra]
    text = data if isinstance(data, str) else json.dumps(data)
    return CliRunner().invoke(correct, arguments, input=text)


def answer(result: Result) -> dict[str, Any]:
    """Return the one line of JSON of a command that succeeded."""
    assert result.exit_code == 0, result.output
    assert result.stdout.count("\n") == 1
    decoded: dict[str, Any] = json.loads(result.stdout)
    return decoded


def test_status_of_nothing(tmp_path: Path) -> None:
    """Before any capture every key is there, so that a script need not ask which."""
    status = answer(call(tmp_path, "status"))
    assert status["captures"] == 0
    assert status["drift"] == {"level": "learning", "rms_before": None, "rms_after": None, "advice": None}
    assert Path(status["state_path"]) == tmp_path / "predictor_v1" / "libx264" / "state.json"
    assert len(status["host_id"]) == 32


def test_predict_record_predict(tmp_path: Path) -> None:
    """Cold, the correction is exactly 0.0; after one capture it goes half way to its residual (ridge 1)."""
    cold = answer(call(tmp_path, "predict", QUERY))
    assert cold == {"predicted": 91.2, "correction": 0.0, "corrected": 91.2, "captures": 0}
    recorded = answer(call(tmp_path, "record", CAPTURE))
    assert (recorded["captures"], recorded["correction"], recorded["observed"]) == (1, 0.0, 93.8)
    warm = answer(call(tmp_path, "predict", QUERY))
    assert warm["correction"] == pytest.approx((93.8 - 91.2) / 2)
    assert warm["corrected"] == warm["predicted"] + warm["correction"]


@pytest.mark.parametrize("command", ["record", "status"])
def test_without_a_home_directory_the_error_names_the_option(tmp_path: Path, command: str) -> None:
    """As in the image, where the home directory does not exist and cannot be made."""
    environ = {"HOME": "/proc/nonexistent", "XDG_CACHE_HOME": None}
    result = CliRunner().invoke(correct, [command, "--codec", "libx264"], input=json.dumps(CAPTURE), env=environ)
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: /proc/nonexistent: No such file or directory; --cache-dir or XDG_CACHE_HOME says where state may lie\n"
    )
    elsewhere = {**environ, "XDG_CACHE_HOME": str(tmp_path)}
    result = CliRunner().invoke(correct, [command, "--codec", "libx264"], input=json.dumps(CAPTURE), env=elsewhere)
    assert result.exit_code == 0


def test_features_as_an_array(tmp_path: Path) -> None:
    """Plain values are taken too; then it is their number that must stay."""
    assert answer(call(tmp_path, "record", {**CAPTURE, "features": [24, 1920]}))["features"] == ["f0", "f1"]
    refused = call(tmp_path, "predict", {**QUERY, "features": [24]})
    assert refused.exit_code == 1
    assert "f0, f1 are expected" in refused.stderr


def test_batch_record_keeps_the_good_lines_and_names_the_bad(tmp_path: Path) -> None:
    """Good lines count, empty ones are skipped, every other one is named with its number and what was expected."""
    bad = ['{"features": {"fps": 24', '{"crf": 28}', json.dumps({**CAPTURE, "observed": 193.8}), "[]"]
    lines = [json.dumps(CAPTURE), *bad, "", json.dumps(CAPTURE) + "\r"]
    result = call(tmp_path, "batch-record", "\n".join(lines))
    batch = answer(result)
    assert (batch["recorded"], batch["captures"]) == (2, 2)
    assert [refusal["line"] for refusal in batch["refused"]] == [2, 3, 4, 5]
    assert "observed is 193.8, a score of 0 to 100 is expected" in batch["refused"][2]["reason"]
    assert result.stderr.count("Warning: line") == 4


def test_batch_record_reads_a_file(tmp_path: Path) -> None:
    """A file of captures teaches what the same captures teach one by one."""
    file = tmp_path / "captures.jsonl"
    captures = [{**CAPTURE, "crf": crf, "observed": 110.0 - crf} for crf in range(20, 40)]
    file.write_text("".join(json.dumps(capture) + "\n" for capture in captures))
    together = answer(call(tmp_path / "a", "batch-record", None, str(file)))
    for capture in captures:
        answer(call(tmp_path / "b", "record", capture))
    assert together["captures"] == 20
    states = [(tmp_path / cache / "predictor_v1" / "libx264" / "state.json").read_bytes() for cache in "ab"]
    assert states[0] == states[1]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("", "input: Input data was truncated"),
        ("{", "input: Input data was truncated"),
        ("NaN", "input: JSON is malformed"),
        ({**CAPTURE, "crf": "28"}, "`$.crf`"),
        ({**CAPTURE, "features": {}}, "features: at least one value"),
        ({**CAPTURE, "features": {"fps": True}}, "Expected `float`"),
        ({**CAPTURE, "observed": -1}, "observed is -1.0, a score of 0 to 100 is expected"),
        ({k: v for k, v in CAPTURE.items() if k != "observed"}, "missing required field `observed`"),
        (json.dumps(CAPTURE).replace("93.8", "1e999"), "input: "),
        (json.dumps(CAPTURE) * 2, "input: JSON is malformed"),
    ],
)
def test_mistakes_are_one_clear_line(tmp_path: Path, data: object, words: str) -> None:
    """Exit status 1, nothing on standard output, one line that says what was expected, and no state."""
    result = call(tmp_path, "record", data)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "predictor_v1" / "libx264" / "state.json").exists()


@pytest.mark.parametrize("option", [("--codec", "../x"), ("--predictor-version", "a/b")])
def test_unsafe_names_are_mistakes(tmp_path: Path, option: tuple[str, str]) -> None:
    """A codec or version that could leave the directory ends in an error that names it."""
    result = call(tmp_path, "record", CAPTURE, *option)
    assert result.exit_code == 1
    assert option[0].strip("-").replace("-", " ") in result.stderr


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    """The path is named, without a traceback."""
    (tmp_path / "file").write_text("")
    result = call(tmp_path / "file" / "cache", "record", CAPTURE)
    assert result.exit_code == 1
    assert str(tmp_path / "file") in result.stderr


def test_a_corrupt_state_warns_on_standard_error_only(tmp_path: Path) -> None:
    """The answer on standard output is that of a cold start, and stays one line of JSON."""
    path = tmp_path / "predictor_v1" / "libx264" / "state.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    result = call(tmp_path, "predict", QUERY)
    assert answer(result)["captures"] == 0
    assert path.with_name("state.json.corrupt-1").exists()


def test_drift_reaches_standard_error(tmp_path: Path) -> None:
    """Where the predictor has stopped fitting, status says so to people and to scripts."""
    captures = [{**CAPTURE, "observed": 95.0 if i % 2 else 60.0} for i in range(60)]
    call(tmp_path, "batch-record", "\n".join(map(json.dumps, captures)))
    result = call(tmp_path, "status")
    assert answer(result)["drift"]["level"] == "critical"
    assert "Warning: libx264: Over the last 50 captures" in result.stderr


def test_report_draws_a_plot(tmp_path: Path) -> None:
    """A PNG is written where asked; without captures, or with an unknown ending, a mistake is reported."""
    pytest.importorskip("matplotlib", reason="the plot extra is not installed")
    output = tmp_path / "plot.png"
    assert "nothing to plot" in call(tmp_path, "report", None, "--output", str(output)).stderr
    answer(call(tmp_path, "record", CAPTURE))
    assert answer(call(tmp_path, "report", None, "--output", str(output)))["plot"] == str(output)
    assert output.read_bytes().startswith(b"\x89PNG")
    assert "Error: output" in call(tmp_path, "report", None, "--output", str(tmp_path / "plot.xyz")).stderr


@pytest.mark.parametrize("command", ["status", "predict", "record", "batch-record", "report"])
def test_help_has_an_example(command: str) -> None:
    """Each command shows how it is called, with its lines left as they are."""
    text = CliRunner().invoke(correct, [command, "--help"]).output
    assert f"vmafx-sidecar correct {command} --codec libx264" in text
    assert "\\b" not in text
