"""The clock is stepped back and forward under a running sidecar: nothing hangs, nothing is restarted, versions grow."""

from pathlib import Path

import pytest

from tests.faults.stepped_clock import build, needs_compiler
from tests.support.sidecar import QUICK, running
from tests.support.stream import Stream

DAY_S = 86400

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the library that moves the clock of one process tree."""
    return build(tmp_path_factory.mktemp("clock"))


@needs_compiler
def test_a_stepped_clock_neither_stops_nor_hurries(tmp_path: Path, library: Path) -> None:
    """A year forward, two years back, and right again: all processes stay the same and go on publishing."""
    clock = tmp_path / "clock"
    clock.write_text("0")
    settings = QUICK | {"LD_PRELOAD": str(library), "STEPPED_CLOCK": str(clock)}
    with running(tmp_path, **settings) as sidecar, Stream(sidecar) as stream:
        stream.wait_for_more(100)
        pids = {role: state.pid for role, state in sidecar.reported().roles.items()}
        version = sidecar.reported().exporter.version
        for days in (365, -730, 0):
            clock.write_text(str(days * DAY_S))
            stream.wait_for_more(100)
            version += 2
            sidecar.wait_for(lambda least=version: sidecar.reported().exporter.version >= least)  # type: ignore[misc]
        arrivals = sidecar.rows().arrival
        assert arrivals.max() - arrivals.min() > 1000 * DAY_S, "the clock was never stepped"
        assert {role: state.pid for role, state in sidecar.reported().roles.items()} == pids
        assert sidecar.fsck() == []
