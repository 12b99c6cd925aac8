"""The outage itself: a short one passes, and its accounts find what is late, grown or restarted."""

import subprocess
import sys

import pytest

from tests.faults.outage import Ledger, Usage, compare
from tests.support.processes import REPOSITORY
from tests.support.registries import REGISTRY


def test_what_grew_is_found() -> None:
    """Memory, open files and threads, each beyond what a pass needs for a moment."""
    ledger = Ledger(usages=[Usage(30.0, 8, 2), Usage(31.0, 9, 3)])
    compare(ledger)
    assert ledger.errors == []
    ledger.usages.append(Usage(45.0, 40, 30))
    compare(ledger)
    assert ledger.errors == ["memory grew by 15.0 MiB", "files grew by 32", "threads grew by 28"]


@pytest.mark.long
@pytest.mark.processes
@pytest.mark.parametrize("options", [["--store", "oci", "--lost"], ["--store", "s3"]])
def test_a_short_outage_passes(options: list[str]) -> None:
    """The registry comes back without its data, and is caught up with; exit code 0."""
    if "oci" in options and REGISTRY is None:
        pytest.skip("docker-registry is not installed (Debian's package of that name)")
    command = [sys.executable, "-m", "tests.faults.outage", "--seconds", "5", "--every", "1", "--rate", "300", *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "- nothing" in done.stdout
