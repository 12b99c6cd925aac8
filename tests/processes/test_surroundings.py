"""What the processes are given to live in."""

import os
from pathlib import Path

import pytest

from tests.support.sidecar import SIX, running


@pytest.mark.processes
def test_nothing_is_written_elsewhere_and_nothing_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a TMPDIR, temporary files go to the private run directory; ONNX Runtime's reporting is off."""
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    with running(tmp_path, **SIX) as sidecar:
        pid = sidecar.pid("ingest")
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        given = dict(entry.split(b"=", 1) for entry in environment if entry)
        assert given[b"ORT_DISABLE_TELEMETRY"] == b"1"
        assert given[b"TMPDIR"] == given[b"VMAFX_SIDECAR_RUN_DIR"]
        directory = Path(os.fsdecode(given[b"TMPDIR"]))
        assert directory.stat().st_mode & 0o077 == 0
    assert not directory.exists()
