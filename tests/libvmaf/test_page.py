"""docs/libvmaf.md: its five commands, but for the installation, do what it says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.corpus import ffmpeg
from pipeline.corpus.table import CorpusError
from tests.support.processes import REPOSITORY, environment

ERROR_OF_ALL = re.compile(r"^│ all.*?│ +([\d.]+) │ +[\d.]+ │ +[\d.]+ │$", re.MULTILINE)
PAGE = REPOSITORY / "docs" / "libvmaf.md"


def commands() -> list[str]:
    """Return the five commands."""
    block = PAGE.read_text().split("<!-- five -->")[1].split("<!-- end of five -->")[0]
    return [line.strip() for line in block.strip().splitlines()]


@pytest.mark.processes
@pytest.mark.long
def test_the_five_commands_give_a_better_model(tmp_path: Path) -> None:
    """In a directory with the repository's docs in it, on sources that were never sent."""
    try:
        binary = ffmpeg.find_ffmpeg()
    except CorpusError as error:
        pytest.skip(str(error))
    install, *others = commands()
    assert install.startswith("python3 -m venv .venv && . .venv/bin/activate && pip install -c constraints.txt")
    assert len(others) == 4
    (tmp_path / "docs").symlink_to(REPOSITORY / "docs")
    program = tmp_path / "bin" / "vmafx-sidecar"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pipeline "$@"\n')
    program.chmod(0o755)
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    script = "\n".join(["set -e", *others[:1], 'trap "kill $! && wait" EXIT', *others[1:]])
    settings = environment(FFMPEG=binary, VMAFX_SIDECAR_HTTP="127.0.0.1:0", PYTHONPATH=str(REPOSITORY))
    settings["PATH"] = f"{program.parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["/bin/sh", "-c", script], cwd=tmp_path, env=settings, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    before, after = (float(error) for error in ERROR_OF_ALL.findall(done.stdout))
    assert after < before / 4
