"""How events are written."""

import io
import json
import sys

import pytest
import structlog

from pipeline import config
from pipeline.runtime import logs


def test_a_line_is_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several processes write to one stream: a line in two writes would be torn apart by another's."""
    writes: list[str] = []
    stream = io.StringIO()
    monkeypatch.setattr(stream, "write", writes.append)
    monkeypatch.setattr(sys, "stderr", stream)
    try:
        logs.configure(config.load({"VMAFX_SIDECAR_LOG_FORMAT": "json"}))
        logs.get("ingest").info("listening", socket="s")
    finally:
        structlog.reset_defaults()
    assert len(writes) == 1
    assert json.loads(writes[0])["event"] == "listening"
    assert writes[0].endswith("}\n")
