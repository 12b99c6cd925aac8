"""Reports: what goes on from one life of a role to the next, and what does not."""

import os
from pathlib import Path

import msgspec
import pytest
import structlog

from pipeline import config
from pipeline.runtime import regions, reports, restore, saved_state
from pipeline.runtime.reports import ExporterReport, IngestReport, MonitorReport, Report, Reporter
from pipeline.runtime.restore import Saved
from pipeline.runtime.saved_state import SavedState
from pipeline.shm import segment

OLD = {
    "role": "exporter", "pid": 4711, "born": 12, "lives": 3, "short_lives": 2, "started": 1.0, "started_at": 2.0,
    "heartbeat": 3.0, "phase": "failed", "problem": "of long ago", "ending": 65, "verdict": 65, "version": 7,
    "failures": {"disk": 2},
}  # fmt: skip


def is_of_no_life(report: Report) -> bool:
    """Whether a report says nothing of a process."""
    life = (report.pid, report.born, report.short_lives, report.heartbeat, report.phase, report.problem)
    return life == (0, 0, 0, 0.0, "starting", "")


def test_a_saved_report_brings_back_counters_only(instance: str, tmp_path: Path) -> None:
    """Not who reported, in which phase, with what problem; nor what an older version said of its end."""
    environ = {"VMAFX_SIDECAR_INSTANCE": instance, "VMAFX_SIDECAR_CHECKPOINT_DIR": str(tmp_path)}
    settings = config.load(environ)
    settings.state_dir.mkdir()
    saved_state.save(
        settings.state_dir, SavedState(settings.n_features, reports={"exporter": msgspec.msgpack.encode(OLD)})
    )
    board = regions.open_board(settings)
    restore.fill_report(board, "exporter", Saved(settings, structlog.get_logger()))
    report = board.exporter()
    assert is_of_no_life(report)
    assert (report.lives, report.version, report.failures) == (3, 7, {"disk": 2})
    mine = Reporter(board, "exporter", ExporterReport).report
    assert (mine.lives, mine.version, mine.phase) == (4, 7, "starting")


@pytest.mark.parametrize("payload", [b"", b"\xc1", msgspec.msgpack.encode({"lives": "many"})])
def test_a_saved_report_that_cannot_be_read_brings_nothing(payload: bytes) -> None:
    """One of another version, or none at all."""
    assert reports.restored("ingest", payload) is None


def test_a_run_begins_with_reports_of_nobody(instance: str) -> None:
    """In memory that outlived its processes: their counters stay, what they said last does not count any more."""
    board = regions.open_board(config.load({"VMAFX_SIDECAR_INSTANCE": instance}))
    before = Reporter(board, "ingest", IngestReport)
    before.report.accepted, before.report.phase = 5, "accepting"
    before.publish()
    lock = segment.take_lock(regions.role_lock(instance, "ingest"))
    regions.forget_lives(board, instance)
    assert board.ingest() == before.report, "its writer is still there"
    os.close(lock)
    regions.forget_lives(board, instance)
    assert is_of_no_life(board.ingest())
    assert (board.ingest().accepted, board.ingest().lives) == (5, 1)
    assert board.box("trainer").version == 0


def test_a_new_monitor_does_not_give_the_address_of_the_last_one(instance: str) -> None:
    """Where HTTP is answered is of one life: a new process has no address until it listens."""
    board = regions.open_board(config.load({"VMAFX_SIDECAR_INSTANCE": instance}))
    before = Reporter(board, "monitor", MonitorReport)
    before.report.http = "http://127.0.0.1:9090"
    before.report.restarts = {"trainer": 2}
    before.publish()
    after = Reporter(board, "monitor", MonitorReport)
    assert (after.report.http, after.report.restarts) == ("", {"trainer": 2})
