"""The page's modules, as far as they are arithmetic, run by Node.js."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import pipeline

ASSETS = Path(pipeline.__file__).parent / "monitor" / "assets"


def result_of(directory: Path, module: str, function: str, argument: Any) -> Any:
    """Call a function of a module of the page's, on copies of them in `directory`; skips the test without Node.js."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node.js is not installed")
    for asset in ASSETS.glob("*.js"):
        shutil.copy(asset, directory)
    (directory / "package.json").write_text('{"type": "module"}')
    address = (directory / module).as_uri()
    given = f"JSON.parse({json.dumps(json.dumps(argument))})"
    script = f"import {{ {function} as f }} from '{address}'; console.log(JSON.stringify(f({given})))"
    ran = subprocess.run([node, "--input-type=module", "-e", script], capture_output=True, text=True, check=True)
    return json.loads(ran.stdout)
