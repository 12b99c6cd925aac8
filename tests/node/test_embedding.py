"""`pipeline.node` as a node embeds it: what it exports, and what it does not import before it must."""

import json
import os
import re
import subprocess
import sys
from itertools import cycle
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from pipeline.data import BASE_MODEL
from pipeline.node import FeedbackClient
from tests.support.sidecar import PUBLISHING, running
from tests.support.waiting import eventually

PAGE = Path(__file__).parents[2] / "docs" / "node.md"

HEAVY = ("numpy", "onnxruntime", "onnx", "torch", "structlog", "rich", "asyncio", "click", "prometheus_client")


def loaded_by(code: str) -> set[str]:
    """Return the top-level names of the modules that a new interpreter has after `code`."""
    command = [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"]
    output = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    return {module.partition(".")[0] for module in output.stdout.split()}


def test_the_import_is_light() -> None:
    """Neither NumPy nor ONNX Runtime nor the log is imported with the names that a node needs."""
    loaded = loaded_by("from pipeline.node import CheckpointWatcher, FeedbackClient, Policy")
    assert "msgspec" in loaded
    assert not loaded & set(HEAVY)


def test_a_policy_needs_no_model() -> None:
    """A node that loads models in its own way can ask which checkpoint to take."""
    code = "from pathlib import Path; from pipeline.node import Policy; Policy.parse('latest').candidates(Path('.'))"
    assert not loaded_by(code) & set(HEAVY)


def test_a_model_needs_onnxruntime_and_no_torch() -> None:
    """To predict takes NumPy and ONNX Runtime, and nothing that only training or publishing needs."""
    code = """
from pipeline.data import BASE_MODEL
from pipeline.node import CheckpointWatcher
CheckpointWatcher("/nonexistent", BASE_MODEL).close()
"""
    loaded = loaded_by(code)
    assert {"numpy", "onnxruntime"} <= loaded
    assert not loaded & {"torch", "onnx", "click", "prometheus_client"}


def programs() -> list[str]:
    """Return the programs of docs/node.md: a node, and how features are made for a model that says what it takes."""
    return re.findall(r"^```python\n(.+?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def test_features_are_made_as_the_page_says(tmp_path: Path) -> None:
    """From columns by name to what the model takes, in its order and with its scaling."""
    _, program = programs()
    (tmp_path / "m.onnx").write_bytes(BASE_MODEL.read_bytes())
    order = ["motion2", "adm2", "a", "b", "c", "d"]
    says = {"feature_order": order, "feature_mean": [1.0] * 6, "feature_std": [2.0] * 6}
    (tmp_path / "m.json").write_text(json.dumps(says))
    columns = {name: np.full(3, float(i), np.float32) for i, name in enumerate(sorted(order))}
    known: dict[str, Any] = {"measured": lambda: columns}
    program = program.replace("/models/fr_regressor_v2.onnx", str(tmp_path / "m.onnx"))
    exec(program, known)  # noqa: S102  what the page itself says
    assert known["features"].tolist() == [[2.0, 0.0, -0.5, 0.5, 1.0, 1.5]] * 3


@pytest.mark.processes
def test_the_program_of_the_page_runs(tmp_path: Path) -> None:
    """The program in docs/node.md feeds a real sidecar, loses nothing, and ends with a checkpoint in use."""
    program, _ = programs()
    assert len([line for line in program.splitlines() if line.strip()]) <= 20
    with running(tmp_path, **PUBLISHING, VMAFX_BASE_MODEL_PATH=str(BASE_MODEL)) as sidecar:
        places = {
            "VMAFX_SIDECAR_SOCKET": str(sidecar.socket),
            "VMAFX_SIDECAR_CHECKPOINT_DIR": str(sidecar.checkpoints),
        }
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, env=os.environ | places, check=True, capture_output=True, text=True)
        said = re.fullmatch(r"(\d+) delivered; predicting with (.+)", done.stdout.splitlines()[-1])
        assert said is not None, done.stdout
        assert sidecar.samples() == int(said[1])
        assert re.fullmatch(r"model_v\d{6}\.onnx", said[2])


@pytest.mark.processes
def test_a_node_that_feeds_three_sources_learns_why_nothing_is_promoted(tmp_path: Path) -> None:
    """No checkpoint of theirs is stable, and the reason beside it says what to send instead."""
    with running(tmp_path, **PUBLISHING) as sidecar:
        client = FeedbackClient(sidecar.socket, window=32)
        for index, source in zip(range(2000), cycle("abc")):
            client.send([0.9, 0.5, 0.6, 0.7, 0.8, index / 2000], index / 20, source_id=source, wait=True)
        client.close()
        described = sidecar.checkpoints / "model_v000001.json"
        assert eventually(described.exists)
        found = msgspec.json.decode(described.read_bytes())
    assert found["state"] == "unproven"
    assert "eight groups" in found["reason"]
    assert "source_id" in found["reason"]
