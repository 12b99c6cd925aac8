"""What the correction needs to run."""

import subprocess
import sys

from tests.support.processes import REPOSITORY

HEAVY = ("torch", "onnx", "onnxruntime", "matplotlib", "pyarrow", "scipy")


def test_neither_torch_nor_the_rest_of_the_pipeline_is_imported() -> None:
    """The library and its commands load NumPy, msgspec, click, and of the pipeline only how to lock and write files."""
    code = "import sys, pipeline.correction, pipeline.correction.cli; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    output = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    modules = output.stdout.split()
    assert not {module.partition(".")[0] for module in modules} & set(HEAVY)
    own = {module for module in modules if module.startswith("pipeline.")}
    others = {module for module in own if not module.startswith("pipeline.correction")}
    assert others == {"pipeline.runtime", "pipeline.runtime.durable", "pipeline.runtime.locks"}
