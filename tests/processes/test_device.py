"""A real trainer whose device fails goes on training in the same process."""

import json
from pathlib import Path

import pytest

from tests.support.sidecar import QUICK, running
from tests.support.stream import Stream

pytestmark = pytest.mark.processes


@pytest.mark.parametrize(("fails", "error"), [("at the start", ""), ("5", "OutOfMemoryError")])
def test_the_trainer_survives_its_device(fails: str, error: str, tmp_path: Path) -> None:
    """Whether it fails at the start or after five lessons: one life, one warning, and checkpoints."""
    failing = str(Path(__file__).parent / "failing_device")
    settings = {"VMAFX_SIDECAR_CUDA": "1", "VMAFX_TEST_DEVICE_FAILS": fails, "PYTHONPATH": failing}
    with running(tmp_path, **QUICK, **settings) as sidecar:
        first = sidecar.reported().trainer
        assert first.device == ("cpu" if fails == "at the start" else "cpu:0")
        with Stream(sidecar) as stream:
            stream.wait_for_more(400)
        sidecar.wait_for(lambda: sidecar.reported().trainer.lag == 0)
        sidecar.wait_for(lambda: sidecar.reported().exporter.version > 0)
        report = sidecar.reported().trainer
        assert (report.pid, report.lives) == (first.pid, first.lives)
        assert (report.device, report.phase, report.problem) == ("cpu", "running", "")
        assert report.device_note.startswith(f"the device failed ({error}")
        assert report.step > 0
        log = [json.loads(line) for line in sidecar.log().splitlines() if line.startswith("{")]
        warnings = [entry for entry in log if entry["event"] == "device"]
        assert [entry["note"] for entry in warnings] == [report.device_note]
