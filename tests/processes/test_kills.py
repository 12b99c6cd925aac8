"""SIGKILL of each process in mid-stream: the others go on, it comes back where it was, nothing is lost."""

import signal
from pathlib import Path

import pytest

from pipeline.checkpoints.names import file_of, published
from pipeline.registry.registry import digest_of
from pipeline.runtime.health import PIPELINE
from tests.support.sidecar import QUICK, Sidecar, running
from tests.support.stream import Stream, numbers

LARGE = QUICK | {"VMAFX_SIDECAR_REPLAY_CAPACITY": "100000", "VMAFX_SIDECAR_KEEP_CHECKPOINTS": "1000"}
KILLS = 4

pytestmark = pytest.mark.processes


def digests(sidecar: Sidecar) -> dict[int, str]:
    """Return the digest of every published version."""
    return {version: digest_of(file_of(sidecar.checkpoints, version)) for version in published(sidecar.checkpoints)}


def test_each_killed_again_and_again_in_mid_stream(tmp_path: Path) -> None:
    """No answered sample is missing, none is there twice, step and version only grow, each published file verifies."""
    seen: dict[int, str] = {}
    with running(tmp_path, **LARGE) as sidecar:
        with Stream(sidecar) as stream:
            for _ in range(KILLS):
                for role in PIPELINE:
                    stream.wait_for_more(100)
                    pid = sidecar.kill(role)
                    sidecar.wait_for_another(role, pid)
                now = digests(sidecar)
                assert seen.items() <= now.items(), "a published version went or was replaced"
                seen = now
            stream.wait_for_more(100)
            sidecar.wait_for(lambda: sidecar.reported().exporter.version > max(seen, default=0))
        sidecar.wait_for(lambda: sidecar.reported().trainer.lag == 0)
        rows = sidecar.rows()
        assert stream.missing(rows) == []
        assert len(set(numbers(rows))) == len(rows)
        assert stream.steps == sorted(stream.steps)
        assert sidecar.reported().trainer.evicted_untrained == 0
        sidecar.wait_for(lambda: all(sidecar.reported().roles[role].restarts >= KILLS for role in PIPELINE))
        assert sidecar.fsck() == []
        assert sidecar.stop() == 0


def test_the_others_go_on_while_one_is_down(tmp_path: Path) -> None:
    """With trainer and exporter halted, samples are answered; when they go on, they catch up."""
    with running(tmp_path, **QUICK) as sidecar, Stream(sidecar) as stream:
        stream.wait_for_more(50)
        for role in ("trainer", "exporter"):
            sidecar.signal(role, signal.SIGSTOP)
        stream.wait_for_more(300)
        for role in ("trainer", "exporter"):
            sidecar.signal(role, signal.SIGCONT)
        sidecar.wait_for(lambda: sidecar.reported().trainer.cursor >= 300)
        version = sidecar.reported().exporter.version
        sidecar.wait_for(lambda: sidecar.reported().exporter.version > version)


def test_a_process_that_hangs_is_restarted_and_a_busy_one_is_not(tmp_path: Path) -> None:
    """The trainer is halted for longer than VMAFX_SIDECAR_HANG_S: it is replaced, and goes on from its last step."""
    with running(tmp_path, **QUICK, VMAFX_SIDECAR_HANG_S="2") as sidecar, Stream(sidecar) as stream:
        stream.wait_for_more(200)
        step = sidecar.reported().trainer.step
        pids = {role: sidecar.pid(role) for role in PIPELINE}
        sidecar.signal("trainer", signal.SIGSTOP)
        sidecar.wait_for_another("trainer", pids["trainer"])
        assert sidecar.reported().trainer.step >= step
        assert {role: sidecar.pid(role) for role in ("ingest", "exporter")} == {
            role: pids[role] for role in ("ingest", "exporter")
        }
        assert "process_hangs" in sidecar.log()


def test_a_hang_is_noticed_though_the_monitor_was_killed(tmp_path: Path) -> None:
    """A monitor that was restarted takes up the processes that run already."""
    with running(tmp_path, **QUICK, VMAFX_SIDECAR_HANG_S="2") as sidecar:
        monitor, trainer = sidecar.signal("monitor", signal.SIGKILL), sidecar.pid("trainer")
        sidecar.wait_for(lambda: sidecar.reported().monitor.phase == "watching" and sidecar.pid("monitor") != monitor)
        sidecar.signal("trainer", signal.SIGSTOP)
        sidecar.wait_for_another("trainer", trainer)
