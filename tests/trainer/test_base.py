"""The trainer process while its base model is missing."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.data import BASE_MODEL
from pipeline.runtime import regions
from pipeline.runtime.reports import TrainerReport
from tests.support.boards import settings_of
from tests.support.processes import environment
from tests.support.waiting import eventually


@pytest.mark.processes
def test_a_missing_base_model_is_a_warning_and_a_problem_until_it_is_there(tmp_path: Path, instance: str) -> None:
    """It waits and says for what; once the file is there it goes on to wait for ingest."""
    path = tmp_path / "base.onnx"
    board = regions.open_board(settings_of(instance))
    environ = environment(
        VMAFX_SIDECAR_INSTANCE=instance,
        VMAFX_SIDECAR_N_FEATURES="6",
        VMAFX_SIDECAR_CHECKPOINT_DIR=str(tmp_path / "models"),
        VMAFX_BASE_MODEL_PATH=str(path),
    )
    command = [sys.executable, "-m", "pipeline.trainer"]

    def report() -> TrainerReport:
        return board.trainer()

    with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True) as process:
        try:
            eventually(lambda: report().problem, explain=report)
            assert report().phase == "initializing"
            assert report().problem == f"VMAFX_BASE_MODEL_PATH={path}: No such file or directory; waiting for it"
            path.write_bytes(BASE_MODEL.read_bytes())
            eventually(lambda: report().problem.startswith("waiting for ingest"), explain=report)
        finally:
            process.terminate()
            log = process.communicate(timeout=60)[1]
    assert process.returncode == 0
    warnings = [line for line in log.splitlines() if '"base_model_missing"' in line]
    assert len(warnings) == 1
    assert '"level": "warning"' in warnings[0]
