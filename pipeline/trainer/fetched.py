"""Has the base model that a URL names fetched, by a program of its own, while the trainer goes on reporting."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from pipeline.runtime.process import Process
    from pipeline.runtime.reports import TrainerReport

_COMMAND = (sys.executable, "-m", "pipeline.publisher.fetch")
_LONGEST_S = 120.0
_LOOK_S = 0.1


class NotFetched(OSError):
    """The model is not there (yet); `strerror` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(0, reason)


def fetch(process: Process[TrainerReport]) -> Path:
    """Return where the base model of the settings lies. Raises NotFetched."""
    with subprocess.Popen(_COMMAND, stdout=subprocess.PIPE) as program:
        until = time.monotonic() + _LONGEST_S
        while program.poll() is None:
            process.reporter.beat()
            process.wait(_LOOK_S)
            if process.should_stop() or time.monotonic() > until:
                program.kill()
        assert program.stdout is not None
        said = program.stdout.read()
    try:
        found = msgspec.json.decode(said, type=dict[str, str])
    except msgspec.DecodeError:
        raise NotFetched(f"the program that fetches it ended with code {program.returncode}") from None
    if "path" not in found:
        raise NotFetched(f"{found['kind']}: {found['reason']}")
    process.log.info("base_model_fetched", path=found["path"], digest=found["digest"], note=found["note"])
    return Path(found["path"])
