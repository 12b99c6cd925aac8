"""`pipeline.node` as a node embeds it: what it exports, and what it does not import before it must."""

import subprocess
import sys
from pathlib import Path

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
