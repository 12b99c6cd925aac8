"""The Python versions on this machine that the project supports."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

VERSIONS = ("3.11", "3.12", "3.13", "3.14")


def interpreter(version: str) -> str | None:
    """Return the path of an interpreter of `version` that really starts; None where there is none."""
    if sys.version.startswith(f"{version}."):
        return sys.executable
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates = [
        shutil.which(f"python{version}"),
        *map(str, sorted(pyenv.glob(f"versions/{version}.*/bin/python{version}"))),
    ]
    return next((path for path in candidates if path and _is(path, version)), None)


def _is(path: str, version: str) -> bool:
    command = [path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.returncode == 0 and found.stdout.strip() == version
