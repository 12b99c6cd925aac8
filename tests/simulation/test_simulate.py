"""`vmafx-sidecar simulate`: what the sidecar's training would have done, from an archive or a corpus."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog
from click.testing import CliRunner, Result

from pipeline import data
from pipeline.archive.store import Store
from pipeline.archive.tail import Tail
from pipeline.cli import cli
from pipeline.corpus.read import load_corpus
from pipeline.corpus.table import CorpusError
from pipeline.runtime import messages, regions
from pipeline.trainer.online import OnlineTraining
from pipeline.trainer.recipe import Recipe
from tests.archive.feed import Feed, sample, taken
from tests.support.sidecar import SIX, running
from tests.trainer.streams import base_model, corpus, private_reservoir

ROWS = 1600
LIVE_ROWS = 320
ENVIRONMENT = {"VMAFX_SIDECAR_MIN_SAMPLES_CKPT": "800", "VMAFX_SIDECAR_SEED": "1"}


def simulate(*arguments: object, code: int = 0) -> Result:
    """Run the command."""
    result = CliRunner().invoke(cli, ["simulate", *map(str, arguments)], env=ENVIRONMENT)
    assert result.exit_code == code, result.output
    return result


def outcomes(*arguments: object) -> list[dict[str, Any]]:
    """Run the command, and return what it says of each recipe."""
    found: list[dict[str, Any]] = json.loads(simulate(*arguments, "--json").stdout)["outcomes"]
    return found


@pytest.fixture
def archived(instance: str, tmp_path: Path) -> tuple[Path, str]:
    """Train on real frames as they come, archive them, and return the archive with the digest of the weights."""
    feed = Feed(instance, tmp_path / "archive", VMAFX_SIDECAR_N_FEATURES="6")
    frames, base = corpus().only("stream"), base_model()
    reservoirs = private_reservoir(capacity=10_000), private_reservoir(capacity=4096)
    training = OnlineTraining(base, Recipe(), feed.ring, *reservoirs, seed=1)
    for first in range(0, ROWS, 16):
        lines = [
            sample(
                row, features=frames.features[row].tolist(), true_score=float(frames.targets["vmaf_phone"][row]),
                source_id=str(frames.source[row]), tenant_id="acme", codec="h264",
            )
            for row in range(first, first + 16)
        ]  # fmt: skip
        feed.send(*lines)
        training.advance(16)
    store = Store(tmp_path / "archive", 90, 0, structlog.get_logger())
    tail = Tail(feed.settings, store.open())
    while batch := taken(tail):
        store.write(batch, tail.position)
    store.close()
    return tmp_path / "archive", hashlib.sha256(training.export_vector().tobytes()).hexdigest()


def test_it_is_what_the_training_did(archived: tuple[Path, str]) -> None:
    """Bit for bit: the weights that a training has that saw the same samples as they came."""
    archive, weights = archived
    (found,) = outcomes(archive, "--base", data.BASE_MODEL)
    assert found["digest"] == weights
    assert [each["samples"] for each in found["evaluations"]] == [1008, ROWS]
    assert found["evaluations"][-1]["prequential"] < found["evaluations"][-1]["prequential_base"]
    assert [each["samples"] for each in found["verdicts"]] == [800, 1600]


@pytest.mark.processes
@pytest.mark.parametrize("target", ["true_score", "ground_truth_score"])
def test_a_live_sidecar_agrees(tmp_path: Path, target: str) -> None:
    """Its weights are those of the simulation from its archive, where it found all samples waiting and cut no step."""
    frames = corpus().only("stream")
    settings = SIX | {
        "VMAFX_BASE_MODEL_PATH": str(data.BASE_MODEL),
        "VMAFX_SIDECAR_ARCHIVE_DIR": str(tmp_path / "archive"),
        "VMAFX_SIDECAR_CPU_SHARE": "1",
        "VMAFX_SIDECAR_TARGET": target,
        "OMP_NUM_THREADS": "1",
    }
    with running(tmp_path, **settings) as sidecar:
        assert sidecar.command("pause").returncode == 0
        sidecar.wait_for(lambda: sidecar.reported().trainer.phase == "paused")
        with sidecar.client() as client:
            for row in range(LIVE_ROWS):
                score = float(frames.targets["vmaf_phone"][row])
                message = {
                    "job_id": str(row),
                    "features": frames.features[row].tolist(),
                    "true_score": 50.0 if target == "ground_truth_score" else score,
                    "ground_truth_score": 1 + score / 25,
                    "source_id": str(frames.source[row]),
                }
                assert client.ask(message)["ok"]
        assert sidecar.command("resume").returncode == 0
        sidecar.wait_for(lambda: sidecar.reported().trainer.cursor == LIVE_ROWS)
        assert sidecar.stop() == 0
        letter = regions.attach_mailbox(sidecar.settings, "weights")[0].read()
        assert letter is not None
        live = messages.decode_snapshot(letter.payload)
        environment = sidecar.environment
    arguments = ["simulate", str(tmp_path / "archive"), "--base", str(data.BASE_MODEL), "--json"]
    found = json.loads(CliRunner().invoke(cli, arguments, env=environment).stdout)["outcomes"][0]
    assert found["evaluations"][-1]["step"] == live.step
    assert found["digest"] == hashlib.sha256(live.export).hexdigest()


def test_recipes_differ_and_runs_do_not(tmp_path: Path) -> None:
    """The same command says the same twice; another recipe learns otherwise; a picture is drawn."""
    arguments: tuple[object, ...] = (
        data.CORPUS,
        "--base",
        data.BASE_MODEL,
        "--target",
        "vmaf_phone",
        "--recipe",
        "default",
    )
    arguments += ("--recipe", "adr-0781", "--every", "4000")
    picture = tmp_path / "curves.png"
    first, again = outcomes(*arguments, "--plot", picture), outcomes(*arguments)
    assert first == again
    assert len({each["digest"] for each in first}) == 2
    errors = {each["recipe"]: each["evaluations"][-1]["prequential"] for each in first}
    assert errors["default"] < errors["adr-0781"]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_opinions_have_to_be_there(archived: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where they are what is learned."""
    monkeypatch.setenv("VMAFX_SIDECAR_TARGET", "ground_truth_score")
    assert "ground_truth_score" in simulate(archived[0], code=1).stderr


def test_the_table_names_recipe_and_verdict(archived: tuple[Path, str]) -> None:
    """For people; the progress is on standard error."""
    shown = simulate(archived[0], "--base", data.BASE_MODEL).stdout
    assert "default" in shown
    assert "after 1,600 samples: " in shown


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--tenant", "nobody"), "no samples are left of 1,600"),
        (("--since", "2100-01-01"), "no samples"),
        (("--since", "soon"), "2026-11-22"),
    ],
)
def test_what_does_not_fit_is_told(archived: tuple[Path, str], arguments: tuple[str, ...], told: str) -> None:
    """In a line."""
    result = simulate(archived[0], *arguments, code=2 if "soon" in arguments else 1)
    assert told in result.stderr


def test_a_file_that_is_broken_is_named(archived: tuple[Path, str]) -> None:
    """With the reason."""
    path = next(archived[0].rglob("*.parquet"))
    path.write_bytes(path.read_bytes()[:-10])
    assert path.name in simulate(archived[0], code=1).stderr


def test_an_archive_is_a_corpus(archived: tuple[Path, str], tmp_path: Path) -> None:
    """For `train` and `evaluate`: sources, clips and codecs as they were sent; the score is the target `vmaf`."""
    frames, found = corpus().only("stream"), load_corpus(archived[0])
    assert len(found) == ROWS
    assert np.array_equal(found.features, frames.features[:ROWS])
    assert np.array_equal(found.target("vmaf"), frames.targets["vmaf_phone"][:ROWS])
    assert found.source.tolist() == frames.source[:ROWS].tolist()
    assert set(found.codec) == {"h264"}
    assert len(np.unique(found.clip)) == ROWS
    with pytest.raises(CorpusError, match="no file in it is a corpus"):
        load_corpus(tmp_path)
    done = CliRunner().invoke(
        cli, ["train", str(archived[0]), "-o", str(tmp_path / "models"), "--epochs", "1", "--seeds", "2"]
    )
    assert done.exit_code == 0, done.output
    assert list((tmp_path / "models").glob("*.onnx"))
