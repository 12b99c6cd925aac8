"""The commands `train` and `evaluate` on real frames."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from pipeline import data
from pipeline.corpus.packed import write_npz
from pipeline.corpus.read import load_corpus
from pipeline.model import accuracy
from pipeline.model.graph import load_base_model
from pipeline.model.runtime import OnnxModel
from pipeline.model.verify import verify
from pipeline.offline.architectures import ARCHITECTURES, n_parameters
from pipeline.offline.cli import evaluate, train
from pipeline.registry.registry import digest_of

FAST = ("--epochs", "3", "--seeds", "2", "--resamples", "5")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with every fortieth frame of the shipped corpus."""
    path = tmp_path_factory.mktemp("corpus") / "corpus.npz"
    write_npz(path, load_corpus(data.CORPUS).rows(slice(0, None, 40)))
    return path


def run(command: object, *arguments: str | Path) -> tuple[int, str]:
    """Call a command; exit status and all output."""
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])  # type: ignore[arg-type]
    return result.exit_code, result.output


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_smoke_makes_a_model_that_verifies(tmp_path: Path, architecture: str) -> None:
    """Without data, every architecture becomes a file that passes `verify` and trains as a base model."""
    status, output = run(train, "--epochs", "0", "--assume-dims", "576x324", "--arch", architecture, "-o", tmp_path)
    assert status == 0, output
    model = tmp_path / f"{architecture}.onnx"
    assert all(check.passed for check in verify(model))
    assert load_base_model(model).n_parameters == n_parameters(architecture, 6)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"{architecture}.json", f"{architecture}.onnx", f"{architecture}.onnx.sha256",
    ]  # fmt: skip


def test_trained_model_comes_with_what_it_is_made_of(corpus: Path, tmp_path: Path) -> None:
    """The sidecar has the digest, the sources left out, and figures that the model file itself reproduces."""
    status, output = run(train, corpus, "--val-source", "cars,glacier", "--name", "mine", "-o", tmp_path, *FAST)
    assert status == 0, output
    model = tmp_path / "mine.onnx"
    sidecar = json.loads(model.with_suffix(".json").read_text())
    assert sidecar["sha256"] == digest_of(model) == (tmp_path / "mine.onnx.sha256").read_text().strip()
    assert sidecar["training"]["left_out"] == ["cars", "glacier"]
    rows = load_corpus(corpus)
    unseen = rows.rows(rows.mask_of(["cars", "glacier"]))
    error = OnnxModel(model).predict(unseen.features) - unseen.target("vmaf")
    assert sidecar["metrics"]["rmse"] == pytest.approx(np.sqrt(np.mean(error.astype(float) ** 2)))
    assert sidecar["metrics"]["rows"] == len(unseen)


def test_training_is_repeatable(corpus: Path, tmp_path: Path) -> None:
    """The same command on the same rows makes the same bytes."""
    for name in ("a", "b"):
        assert run(train, corpus, "-o", tmp_path / name, *FAST)[0] == 0
    assert digest_of(tmp_path / "a/mlp_small.onnx") == digest_of(tmp_path / "b/mlp_small.onnx")


@pytest.mark.processes
@pytest.mark.parametrize("kernels", ["MKL_CBWR=COMPATIBLE", "ATEN_CPU_CAPABILITY=default"])
def test_kernels_decide_nothing(corpus: Path, tmp_path: Path, kernels: str) -> None:
    """The same command under other kernels makes a model that predicts the same to a hundredth of a point."""
    name, value = kernels.split("=")
    options = [str(corpus), "--epochs", "40", "--seeds", "4", "--batch-size", "32"]
    command = [sys.executable, "-m", "pipeline", "train", *options, "-o", str(tmp_path / "other")]
    subprocess.run(command, env=os.environ | {name: value}, stdout=subprocess.DEVNULL, check=True)
    assert run(train, *options, "-o", tmp_path / "own")[0] == 0
    rows = load_corpus(data.CORPUS).features
    own, other = (OnnxModel(tmp_path / made / "mlp_small.onnx").predict(rows) for made in ("own", "other"))
    np.testing.assert_allclose(other, own, rtol=0, atol=0.01)


@pytest.mark.processes
def test_killed_training_goes_on(corpus: Path, tmp_path: Path) -> None:
    """A training killed with SIGKILL and started again makes the bytes that an undisturbed one makes."""
    options = [str(corpus), "--epochs", "60", "--seeds", "2", "--batch-size", "32"]
    command = [sys.executable, "-m", "pipeline", "train", *options, "-o", str(tmp_path / "killed")]
    state = tmp_path / "killed" / ".mlp_small.training.npz"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while not state.exists() and process.poll() is None:
            time.sleep(0.01)
        process.kill()
    assert state.exists(), "it ended before it could be killed"
    assert run(train, *options, "-o", tmp_path / "killed")[0] == 0
    assert run(train, *options, "-o", tmp_path / "undisturbed")[0] == 0
    assert not state.exists()
    assert digest_of(tmp_path / "killed/mlp_small.onnx") == digest_of(tmp_path / "undisturbed/mlp_small.onnx")


@pytest.mark.parametrize("sidecar", ['{"feature_mean": [0, 0]}', '{"feature_std": [1, 1, 1, 1, 1, 0]}', "[", "[]"])
def test_unusable_sidecar_is_refused(tmp_path: Path, sidecar: str) -> None:
    """A .json with a standardisation that cannot be applied is named, not guessed at."""
    model = tmp_path / "model.onnx"
    model.write_bytes(data.BASE_MODEL.read_bytes())
    model.with_suffix(".json").write_text(sidecar)
    status, output = run(evaluate, model, data.CORPUS, "-o", tmp_path / "out")
    assert status == 1
    assert "model.onnx: model.json beside it" in output.splitlines()[-1]


def test_loso_reports_every_source(corpus: Path, tmp_path: Path) -> None:
    """Every source is judged by a model that never saw it; the report lists each, and the page stands alone."""
    status, output = run(train, corpus, "--loso", "--arch", "linear", "--arch", "mlp_small", "-o", tmp_path, *FAST)
    assert status == 0, output
    reports = json.loads((tmp_path / "loso.json").read_text())
    assert [report["model"] for report in reports] == ["linear", "mlp_small"]
    for report in reports:
        sources = {group["name"] for group in report["groups"] if group["kind"] == "source"}
        assert sources == set(load_corpus(corpus).sources())
    page = (tmp_path / "loso.html").read_text()
    assert page.count('src="data:image/png;base64,') == 3
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert not list(tmp_path.glob(".*"))


def test_evaluate_puts_models_side_by_side(tmp_path: Path) -> None:
    """The shipped base model is good at what it was trained on, and off by more than 10 for a phone."""
    rmse = {}
    for target in ("vmaf", "vmaf_phone"):
        arguments = (data.BASE_MODEL, data.BASE_MODEL, data.CORPUS, "--part", "judge", "--target", target)
        status, output = run(evaluate, *arguments, "--resamples", "3", "-o", tmp_path / target)
        assert status == 0, output
        reports = json.loads((tmp_path / target / "evaluation.json").read_text())
        assert len(reports) == 2
        rmse[target] = reports[0]["groups"][0]["figures"]["rmse"]["value"]
        assert reports[0]["latency_us_p50"] <= reports[0]["latency_us_p95"]
    assert rmse["vmaf"] < 1
    assert rmse["vmaf_phone"] > 10


def test_shipped_models_of_the_platform_are_evaluated(shared_models: Path, tmp_path: Path) -> None:
    """One standardises in its graph, one leaves it to its caller, as its .json says: both follow the score."""
    models = [shared_models / f"{name}.onnx" for name in ("vmaf_tiny_v2", "fr_regressor_v1")]
    status, output = run(evaluate, *models, data.CORPUS, "--resamples", "0", "-o", tmp_path)
    assert status == 0, output
    reports = json.loads((tmp_path / "evaluation.json").read_text())
    assert all(report["groups"][0]["figures"]["plcc"]["value"] > 0.9 for report in reports)


def test_model_of_another_width_is_refused(shared_models: Path, tmp_path: Path) -> None:
    """A model that takes a codec block is refused where the corpus does not know the CRF of its encodes."""
    status, output = run(evaluate, shared_models / "fr_regressor_v2.onnx", data.CORPUS, "-o", tmp_path)
    assert status == 1
    assert "corpus.npz, for fr_regressor_v2.onnx: no column for crf, 1 of 20 features; there is adm2, clip_id" in output


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "give CORPUS, or --epochs 0"),
        (("absent.npz",), "absent.npz: no such file"),
        (("--epochs", "0", "--assume-dims", "16"), "expected WIDTHxHEIGHT"),
        (("--assume-dims", "16x16"), "only without CORPUS and with --epochs 0"),
        ((str(data.CORPUS), "--val-source", "nosuch"), "no source nosuch in this corpus; it has aslbook"),
        ((str(data.CORPUS), "--val-source", "cars", "--loso"), "give either --loso or --val-source"),
        ((str(data.CORPUS), "--loso", "--name", "x"), "--name names one model"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, arguments: tuple[str, ...], reason: str) -> None:
    """What was wrong is said in the last line, without a traceback, and nothing is written."""
    status, output = run(train, *arguments, "-o", tmp_path / "out")
    assert status in (1, 2)
    assert reason in output.splitlines()[-1]
    assert not list(tmp_path.glob("out/*.onnx"))


@pytest.mark.long
def test_base_model_is_what_its_command_makes(shared_data: Path, tmp_path: Path) -> None:
    """The command on the card of the shipped model makes one that is as good on the sources left out.

    Also with other kernels than those that made it: the ones that every processor has.
    """
    training = json.loads(data.BASE_MODEL.with_suffix(".json").read_text())["training"]
    corpus, left_out = shared_data / "vmaf_frames.parquet", ",".join(training["left_out"])
    command = [sys.executable, "-m", "pipeline", "train", str(corpus), "--val-source", left_out, "--name", "again"]
    environment = os.environ | {"MKL_CBWR": "COMPATIBLE"}
    done = subprocess.run([*command, "-o", str(tmp_path)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = load_corpus(data.CORPUS)
    assert not set(rows.sources()) & set(training["sources"])
    shipped, again = (
        accuracy.rmse(OnnxModel(path).predict(rows.features), rows.target("vmaf"))
        for path in (data.BASE_MODEL, tmp_path / "again.onnx")
    )
    assert again < 1.1 * shipped
