"""Python processes of the tests, fed and ended by their standard input."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.shm import segment
from pipeline.shm.segment import Segment
from tests.support.waiting import eventually

REPOSITORY = Path(__file__).resolve().parents[2]


def environment(**settings: str) -> dict[str, str]:
    """Return the environment that the tests run in, with no settings of a sidecar but these."""
    return {name: value for name, value in os.environ.items() if not name.startswith("VMAFX_")} | settings


@contextmanager
def running(module: str, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a module in a process of its own, which ends when its standard input does; killed if it does not."""
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY) as process:
        assert process.stdin is not None
        try:
            yield process
            process.stdin.close()
            process.wait(timeout=20)
        finally:
            process.kill()


def attached(name: str, kind: str) -> Segment:
    """Attach to a segment that another process makes, once it is there."""

    def there() -> list[Segment]:
        try:
            return [segment.attach(name, kind)]
        except segment.SegmentAbsent:
            return []

    return eventually(there)[0]
