"""Telemetry as a real sidecar would leave it, filled in by hand."""

import os
import time
from typing import TypeVar

import msgspec

from pipeline import config
from pipeline.config import Settings
from pipeline.runtime import kernel, regions
from pipeline.runtime.journal import open_journals
from pipeline.runtime.reports import (
    ArchiveReport,
    Board,
    ExporterReport,
    IngestReport,
    MonitorReport,
    PublisherReport,
    Report,
    TrainerReport,
)

R = TypeVar("R", bound=Report)

FIGURES = {
    f"{on}_{model}_{figure}": value + (on == "held_out")
    for on in ("prequential", "held_out")
    for model, value in (("ema", 0.5), ("base", 12.0))
    for figure in ("rmse", "plcc", "srocc")
}


def settings_of(instance: str, **more: str) -> Settings:
    """Return the settings of a sidecar of this test's own."""
    return config.load({"VMAFX_SIDECAR_INSTANCE": instance, "VMAFX_SIDECAR_N_FEATURES": "6", **more})


def publish(board: Board, report: Report) -> None:
    """Publish a report, alive as this very process and fresh unless it says otherwise."""
    now = time.monotonic()
    report.pid = report.pid or os.getpid()
    report.born = report.born or kernel.look_at(report.pid).born
    report.lives = report.lives or 1
    report.started, report.heartbeat = report.started or now, report.heartbeat or now
    board.box(report.role).publish(msgspec.msgpack.encode(report))


def at_work(instance: str) -> Board:
    """Return the board of a sidecar in full work: 12,345 samples, three checkpoints, one of them stable."""
    board = regions.open_board(settings_of(instance))
    open_journals(settings_of(instance))
    rejected = {"score": 3, "feature_count": 1}
    publish(
        board,
        IngestReport(
            role="ingest",
            phase="accepting",
            accepted=12345,
            resent=2,
            rejected=rejected,
            capacity=10000,
            connections=4,
            archiving=True,
        ),
    )
    publish(
        board,
        TrainerReport(
            role="trainer", phase="running", base_model="/models/base.onnx", base_digest="ab" * 32, device="cpu",
            learner="MlpLearner", recipe="default", step=4000, cursor=12300, lag=45, loss=0.25,
            metrics={"grad_norm": 0.5, **FIGURES},
        ),
    )  # fmt: skip
    publish(
        board,
        ExporterReport(
            role="exporter", phase="running", version=42, latest_state="unstable", stable_version=41,
            latest_reason="held-out: RMSE 3, base model 2.",
            checkpoint_at=1780000000.7, published={"stable": 1, "unstable": 2}, export_seconds=0.2,
        ),
    )  # fmt: skip
    publish(
        board,
        ArchiveReport(
            role="archive", phase="archiving", directory="/archive", archived=12000, waiting=345,
            written_at=1780000000.7, buffer_bytes=1 << 26, waiting_bytes=1 << 20, files=7, size=1 << 30,
        ),
    )  # fmt: skip
    publish(board, MonitorReport(role="monitor", phase="watching", restarts={"trainer": 2}))
    return board


def with_registry(board: Board) -> None:
    """Add a publisher whose registry has been down for a while."""
    publish(
        board,
        PublisherReport(
            role="publisher", phase="running", registry="oci://registry.example/models", pushed=f"sha256:{'a' * 64}",
            pushed_version=41, pushed_at=1780000000.2, pushes=3, pointed=f"sha256:{'c' * 64}", pointed_version=40,
            failing="down", failing_since=1780000100.2, waiting_since=1780000100.2,
            failures={"down": 7}, newer_base=f"sha256:{'b' * 64}",
        ),
    )  # fmt: skip
