"""`FeedbackClient` and a real sidecar whose ingest is killed in mid-stream."""

import os
import signal
from pathlib import Path

import pytest

from pipeline.node.feedback import FeedbackClient
from tests.support.sidecar import SIX, Sidecar, running
from tests.support.waiting import eventually

pytestmark = pytest.mark.processes

A_KILL = 2000
"""Samples between two kills."""


def ingest_after(sidecar: Sidecar, killed: int) -> int:
    """Wait until another ingest than the killed one takes samples; return its process id."""
    sidecar.wait_for(lambda: sidecar.is_served() and sidecar.pid("ingest") != killed)
    return sidecar.pid("ingest")


@pytest.mark.parametrize("window", [1, 32])
def test_no_kill_of_ingest_loses_or_doubles_a_sample(tmp_path: Path, window: int) -> None:
    """Ingest is killed three times under a stream: in the end each sample was accepted, and is stored once."""
    pid, n = 0, 3 * A_KILL
    with running(tmp_path, **SIX) as sidecar:
        client = FeedbackClient(sidecar.socket, window=window, capacity=n)
        for first in range(0, n, A_KILL):
            pid = ingest_after(sidecar, killed=pid)
            for index in range(first, first + A_KILL):
                assert client.send([0.9, 0.5, 0.6, 0.7, 0.8, index / 1000], 50.0, job_id=f"job-{index}")
            assert eventually(lambda first=first: client.delivered() > first)  # type: ignore[misc]
            os.kill(pid, signal.SIGKILL)
        ingest_after(sidecar, killed=pid)
        assert client.close(drain_timeout=60.0)
        assert (client.delivered(), client.rejected(), client.dropped()) == (n, 0, 0)
        assert sidecar.samples() == n
