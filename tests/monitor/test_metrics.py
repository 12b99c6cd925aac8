"""What Prometheus gets."""

import subprocess

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipeline.exporter import loop as exporter_process
from pipeline.monitor.metrics import FAILURES
from pipeline.monitor.record import Record
from pipeline.runtime.reports import Board, ExporterReport
from tests.monitor.conftest import Get
from tests.support.boards import publish


def _samples(get: Get) -> dict[tuple[str, ...], float]:
    code, body = get("/metrics")
    assert code == 200
    return {
        (sample.name.removeprefix("vmafx_sidecar_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def test_every_figure_of_the_reports_is_there(get: Get, record: Record) -> None:
    """Counts, figures by model, ages and restarts arrive with their labels and values."""
    record.free, record.size = 5, 10
    found = _samples(get)
    expected = {
        ("samples_total", "accepted", ""): 12345,
        ("samples_total", "rejected", "score"): 3,
        ("ring_samples",): 10000,
        ("ring_capacity_samples",): 10000,
        ("lag_samples",): 45,
        ("train_steps_total",): 4000,
        ("train_loss",): 0.25,
        ("gradient_norm",): 0.5,
        ("prediction_rmse", "ema", "prequential"): 0.5,
        ("prediction_rmse", "base", "held_out"): 13.0,
        ("checkpoints", "unstable"): 2,
        ("checkpoints_published_total", "stable"): 0,
        ("checkpoint_version",): 42,
        ("last_checkpoint_timestamp_seconds",): 1780000000.7,
        ("export_duration_seconds",): 0.2,
        ("export_failures_total", "disk"): 0,
        ("process_restarts_total", "trainer"): 2,
        ("process_up", "ingest"): 1,
        ("phase", "running"): 1,
        ("phase", "failed"): 0,
        ("checkpoint_filesystem_free_bytes",): 5,
    }
    assert {key: found.get(key) for key in expected} == expected
    assert found[("process_resident_memory_bytes", "trainer")] > 1e6
    assert found[("process_cpu_seconds_total", "trainer")] > 0
    assert 0 <= found[("process_heartbeat_age_seconds", "exporter")] < 60


def test_what_does_not_exist_is_absent(get: Get, board: Board) -> None:
    """A figure without a value (no stable model, no checkpoint time) has no sample rather than a zero."""
    publish(board, ExporterReport(role="exporter", phase="running"))
    found = _samples(get)
    assert ("prediction_rmse", "stable", "held_out") not in found
    assert ("last_checkpoint_timestamp_seconds",) not in found
    assert ("checkpoint_filesystem_free_bytes",) not in found


def test_every_kind_of_failure_is_counted_from_zero() -> None:
    """The kinds that the exporter reports are those that the metric begins with, so that no first failure is missed."""
    assert set(FAILURES) == set(exporter_process._KINDS.values())


@pytest.mark.parametrize("full", [True, False])
def test_names_and_units_follow_the_conventions(get: Get, promtool: str, instance: str, full: bool) -> None:
    """`promtool check metrics` has nothing to say, neither in full work nor before anything has started."""
    if not full:
        from pipeline.runtime import regions
        from tests.support.boards import settings_of

        board = regions.open_board(settings_of(instance))
        for role in ("ingest", "trainer", "exporter", "monitor"):
            board.box(role).publish(b"\x80")
    lint = subprocess.run(
        [promtool, "check", "metrics"], input=get("/metrics")[1], capture_output=True, timeout=30, check=False
    )
    assert (lint.returncode, lint.stdout + lint.stderr) == (0, b"")
