"""From logs to a better model: what `send` brings, the sidecar learns, and `score` shows."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.corpus.read import load_corpus
from pipeline.data import BASE_MODEL, CORPUS
from tests.libvmaf.writing import write_logs
from tests.support.processes import environment
from tests.support.sidecar import PUBLISHING, running

TARGET = "vmaf_phone"
NAMES = ("--file-name", "{source_id}__{job_id}__{codec}", "--crf", "30", "--target", TARGET)


def vmafx(*arguments: str | Path) -> str:
    """Run a command to its end; return what it says."""
    command = [sys.executable, "-m", "pipeline", *map(str, arguments)]
    return subprocess.run(command, env=environment(), stdout=subprocess.PIPE, text=True, check=True).stdout


def error_of(model: Path, base: Path, logs: list[Path]) -> float:
    """Return the error of a model on logs, as `score` says it."""
    said = json.loads(vmafx("score", model, *logs, "--base-model", base, "--format", "json", *NAMES))
    assert said["all"]["samples"] > 500
    error: float = said["all"]["rmse"]
    return error


@pytest.mark.processes
def test_logs_of_one_target_give_a_stable_checkpoint_that_is_better(tmp_path: Path) -> None:
    """On logs that it never saw, of sources that were never sent."""
    _learns(BASE_MODEL, 6, tmp_path)


@pytest.mark.processes
def test_so_they_do_with_a_codec_block(shared_models: Path, tmp_path: Path) -> None:
    """Made of encoder and CRF, as the file's name and an option say them."""
    _learns(shared_models / "fr_regressor_v2.onnx", 20, tmp_path)


def _learns(base: Path, width: int, directory: Path) -> None:
    corpus = load_corpus(CORPUS)
    sent = write_logs(corpus.only("stream"), directory / "sent", TARGET)
    unseen = write_logs(corpus.only("judge"), directory / "unseen", TARGET)[:12]
    settings = PUBLISHING | {"VMAFX_BASE_MODEL_PATH": str(base), "VMAFX_SIDECAR_N_FEATURES": str(width)}
    with running(directory, **settings) as sidecar:
        vmafx("send", *sent, "--socket", sidecar.socket, "--model", base, *NAMES)
        sidecar.wait_for(lambda: sidecar.reported().exporter.latest_state == "stable")
        assert error_of(sidecar.checkpoints, base, unseen) < error_of(base, base, unseen) / 2
