"""What Prometheus scrapes: the reports in shared memory, read when it asks.

https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

import pipeline
from pipeline.artifacts.faults import KINDS
from pipeline.artifacts.offer import OUTCOMES
from pipeline.fleet.names import FAULTS
from pipeline.monitor.record import STATES
from pipeline.runtime.control import ORDERS
from pipeline.runtime.health import Health, examine

if TYPE_CHECKING:
    from pipeline.monitor.record import Record
    from pipeline.monitor.usage import Usages
    from pipeline.runtime.reports import Board

PREFIX = "vmafx_sidecar_"
PHASES = ("initializing", "running", "paused", "failed")
FAILURES = ("directory", "disk", "not ready", "refused", "unexpected")
"""The exporter's kinds of failure, counted from 0 on: Prometheus then sees the first one as an increase."""

ARCHIVE_FAILURES = ("disk", "taken", "unexpected")
"""The archive's, likewise."""

Labelled = Iterable[tuple[tuple[str, ...], float | None]]


class SidecarCollector(Collector):
    """Makes metric families of the reports on `board` and of what the monitor itself knows."""

    def __init__(self, board: Board, record: Record, usages: Usages) -> None:
        self._board, self._record, self._usages = board, record, usages

    def collect(self) -> Iterator[Metric]:
        """Yield every family; those of figures that do not exist yet are empty."""
        health = examine(self._board)
        yield from _sidecar(health)
        yield from _ingest(health)
        yield from _trainer(health)
        yield from _quality(health)
        yield from _exporter(health, self._record.verdicts)
        yield from _archive(health)
        yield from _publisher(health)
        yield from _uplink(health)
        yield from _pool(health)
        yield from self._processes(health)
        yield from self._disk()

    def _processes(self, health: Health) -> Iterator[Metric]:
        roles = health.roles.items()
        used = {role: self._usages.of(role, state.pid) for role, state in roles if state.alive}
        yield _gauge(
            "process_up", "1 while the process is alive and makes progress.", _by_role(health, "progressing"), "process"
        )
        yield _gauge(
            "process_problem",
            "1 while the process has a problem; `vmafx-sidecar status` says which.",
            [((role,), float(health.has_problem(role))) for role, _ in roles],
            "process",
        )
        yield _gauge(
            "process_heartbeat_age_seconds",
            "Time since the process last reported.",
            [((role,), state.heartbeat_age) for role, state in roles if state.pid],
            "process",
        )
        yield _counter(
            "process_restarts", "Times that the process ended unexpectedly.", _by_role(health, "restarts"), "process"
        )
        yield _counter(
            "process_cpu_seconds",
            "Processor time used by the process.",
            [((role,), usage.cpu_seconds) for role, usage in used.items() if usage],
            "process",
        )
        yield _gauge(
            "process_resident_memory_bytes",
            "Resident memory of the process, shared memory included.",
            [((role,), usage.memory) for role, usage in used.items() if usage],
            "process",
        )

    def _disk(self) -> Iterator[Metric]:
        about = "bytes of the file system that holds the checkpoints."
        yield _gauge("checkpoint_filesystem_free_bytes", f"Free {about}", _one(self._record.free))
        yield _gauge("checkpoint_filesystem_size_bytes", f"All {about}", _one(self._record.size))


def registry(board: Board, record: Record, usages: Usages) -> CollectorRegistry:
    """Return a registry with the sidecar's collector alone."""
    made = CollectorRegistry(auto_describe=False)
    made.register(SidecarCollector(board, record, usages))
    return made


def _sidecar(health: Health) -> Iterator[Metric]:
    build = {"version": pipeline.__version__}
    yield InfoMetricFamily(f"{PREFIX}build", "The program's version.", value=build)
    phases = [((phase,), float(phase == health.phase)) for phase in PHASES]
    yield _gauge("phase", "1 for the phase that the sidecar is in, 0 for the others.", phases, "phase")
    trainer = health.trainer
    model = {
        "base_model": trainer.base_model,
        "base_sha256": trainer.base_digest,
        "learner": trainer.learner,
        "recipe": trainer.recipe,
        "device": trainer.device,
    }
    yield InfoMetricFamily(f"{PREFIX}training", "What is trained, by which recipe, on which device.", value=model)


def _ingest(health: Health) -> Iterator[Metric]:
    report = health.ingest
    counts = {"accepted": report.accepted, "resent": report.resent, "forgotten": report.forgotten}
    outcomes = [((outcome, ""), float(count)) for outcome, count in counts.items()]
    outcomes += [(("rejected", reason), float(count)) for reason, count in sorted(report.rejected.items())]
    yield _counter("samples", "Messages by outcome.", outcomes, "outcome", "reason")
    yield _counter("received_bytes", "Bytes read from clients.", _one(report.bytes_received))
    yield _gauge("connections", "Clients connected now.", _one(report.connections))
    yield _gauge(
        "connections_waiting",
        "Clients that must read answers before they are served again.",
        _one(report.connections_waiting),
    )
    yield _counter("connections_opened", "Connections accepted.", _one(report.connections_total))
    yield _counter("connections_refused", "Connections refused.", _one(report.connections_refused))
    yield _gauge("ring_samples", "Samples in the replay ring.", _one(min(report.accepted, report.capacity)))
    yield _gauge("ring_capacity_samples", "Samples that the replay ring can hold.", _one(report.capacity))


def _trainer(health: Health) -> Iterator[Metric]:
    report = health.trainer
    yield _counter("train_steps", "Train steps taken.", _one(report.step))
    yield _counter(
        "train_steps_undone", "Train steps undone because their result was not finite.", _one(report.steps_undone)
    )
    yield _counter("rollbacks", "Times that the stable weights replaced the live ones.", _one(report.rollbacks))
    yield _counter("drift_events", "Times that a rise of the error was detected.", _one(report.drift_events))
    yield _counter(
        "target_changes",
        "Times that samples from before a change of the target were dropped.",
        _one(report.target_changes),
    )
    yield _gauge("prior", "Prior of the learner that is exported.", _one(report.metrics.get("prior")))
    yield _gauge("lag_samples", "Samples accepted and not trained on yet.", _one(report.lag))
    yield _counter("evicted_untrained_samples", "Samples that left the ring untrained.", _one(report.evicted_untrained))
    told = "Samples left out of training: quarantined, or, in a pool, with features that the base model cannot score."
    yield _counter("quarantined_samples", told, _one(report.excluded))
    orders = dict.fromkeys(ORDERS, 0) | report.orders_in_force
    yield _gauge("orders_in_force", "Operators' orders in force, by kind.", _by(orders), "order")
    yield _gauge("train_loss", "Loss of the last train step.", _one(report.loss))
    yield _gauge("gradient_norm", "Gradient norm of the last train step.", _one(report.metrics.get("grad_norm")))
    yield _gauge("reservoir_samples", "Samples kept from the whole past.", _one(report.reservoir_rows))
    yield _gauge("holdout_samples", "Held-out samples, kept for judging.", _one(report.holdout_rows))


def _quality(health: Health) -> Iterator[Metric]:
    about = {
        "rmse": "Root mean square error in points of VMAF",
        "plcc": "Pearson's correlation with the true scores",
        "srocc": "Spearman's rank correlation with the true scores",
    }
    for figure, text in about.items():
        values = [
            ((model, on), health.trainer.metrics.get(f"{on}_{model}_{figure}"))
            for on in ("prequential", "held_out")
            for model in ("ema", "base", "stable")
        ]
        yield _gauge(f"prediction_{figure}", f"{text}, by model and kind of test.", values, "model", "on")


def _exporter(health: Health, verdicts: dict[str, int]) -> Iterator[Metric]:
    report = health.exporter
    present = dict.fromkeys(STATES, 0) | report.published
    yield _gauge("checkpoints", "Checkpoints in the directory, by the gate's verdict.", _by(present), "state")
    yield _counter("checkpoints_published", "Checkpoints published, by the gate's verdict.", _by(verdicts), "state")
    yield _gauge("checkpoint_version", "Version of the newest checkpoint.", _one(report.version))
    yield _gauge("checkpoint_stable_version", "Version of the newest stable checkpoint.", _one(report.stable_version))
    yield _gauge(
        "last_checkpoint_timestamp_seconds",
        "When the newest checkpoint was published.",
        _one(report.checkpoint_at or None),
    )
    yield _gauge(
        "checkpoint_samples",
        "Samples ever accepted when the newest checkpoint was made.",
        _one(report.samples_at_checkpoint),
    )
    yield _gauge("export_duration_seconds", "Time that the last export took.", _one(report.export_seconds))
    yield _counter(
        "export_failures",
        "Exports, saves and upkeep that failed, by reason.",
        _by(dict.fromkeys(FAILURES, 0) | report.failures),
        "reason",
    )
    yield _counter(
        "offers",
        "Models from elsewhere, by what became of them.",
        _by(dict.fromkeys(OUTCOMES, 0) | report.offers),
        "outcome",
    )
    yield _gauge(
        "last_state_save_timestamp_seconds", "When the state was last saved.", _one(report.state_saved_at or None)
    )
    yield _gauge("state_save_duration_seconds", "Time that the last save took.", _one(report.state_save_seconds))


def _archive(health: Health) -> Iterator[Metric]:
    report = health.archive
    here = "archive" in health.roles

    def one(value: float | None) -> Labelled:
        return _one(value if here else None)

    yield _counter("archived_samples", "Samples written into the archive.", one(report.archived))
    yield _counter("archive_missed", "Samples that left the buffer before they were archived.", one(report.missed))
    yield _gauge("archive_waiting_samples", "Samples taken and in no file yet.", one(report.waiting))
    yield _gauge("archive_waiting_bytes", "Bytes of the buffer that are in no file yet.", one(report.waiting_bytes))
    yield _gauge("archive_buffer_bytes", "Bytes of the buffer.", one(report.buffer_bytes))
    yield _gauge("archive_files", "Files in the archive, when it was last looked through.", one(report.files))
    yield _gauge("archive_size_bytes", "Their bytes.", one(report.size))
    yield _counter("archive_removed_files", "Files removed since they were too old or too many.", one(report.removed))
    yield _counter(
        "archive_failures",
        "Writes to the archive that failed, by reason.",
        _by(dict.fromkeys(ARCHIVE_FAILURES, 0) | report.failures) if here else [],
        "reason",
    )
    yield _gauge(
        "last_archive_write_timestamp_seconds", "When a file was last written.", one(report.written_at or None)
    )
    yield _gauge("archive_write_duration_seconds", "Time that the last write took.", one(report.write_seconds))


def _publisher(health: Health) -> Iterator[Metric]:
    report, publishes = health.publisher, health.publishes
    yield _counter("registry_pushes", "Models pushed to the registry.", _one(report.pushes if publishes else None))
    yield _counter(
        "registry_failures",
        "Times that something was wrong with the registry, by kind.",
        _by(dict.fromkeys(KINDS, 0) | report.failures) if publishes else [],
        "kind",
    )
    failing = [((kind,), float(kind == report.failing)) for kind in KINDS if publishes]
    yield _gauge("registry_failing", "1 for what is wrong with the registry now, by kind.", failing, "kind")
    yield _gauge(
        "registry_waiting_since_timestamp_seconds",
        "Since when a stable version is not in the registry; 0 for none.",
        _one(report.waiting_since if publishes else None),
    )
    yield _gauge(
        "registry_failing_since_timestamp_seconds",
        "Since when something is wrong with the registry; 0 where nothing is.",
        _one(report.failing_since if publishes else None),
    )
    pushed_at = report.pushed_at or None if publishes else None
    yield _gauge("last_registry_push_timestamp_seconds", "When a model was last pushed.", _one(pushed_at))
    version = report.pushed_version if publishes else None
    yield _gauge("registry_pushed_version", "Version that was pushed last.", _one(version))
    pointed = report.pointed_version if publishes else None
    yield _gauge("registry_newest_version", "Version that latest-stable leads to there; 0 for none.", _one(pointed))
    is_pool = publishes and bool(report.announced or report.announcing_failing)
    yield _gauge(
        "fleet_announcing_failing_since_timestamp_seconds",
        "Since when a pool cannot tell its fleet of its newest model; 0 for no fault.",
        _one(report.announcing_failing_since if is_pool else None),
    )


def _uplink(health: Health) -> Iterator[Metric]:
    report, here = health.uplink, "uplink" in health.roles

    def one(value: float | None) -> Labelled:
        return _one(value if here else None)

    yield _counter("fleet_sent_samples", "Samples that the fleet has acknowledged.", one(report.sent))
    yield _counter("fleet_left_out_samples", "Samples above the quota, or not to be shared.", one(report.left_out))
    yield _gauge("fleet_behind_samples", "Samples that the uplink has not looked at yet.", one(report.behind))
    dropped = CounterMetricFamily(
        "vmafx_training_triples_dropped", "Samples that left the ring before they could be sent to the fleet."
    )
    yield _filled(dropped, one(report.missed))
    yield _counter(
        "fleet_failures",
        "Times that something was wrong with the fleet's servers, by kind.",
        _by(dict.fromkeys(FAULTS, 0) | report.failures) if here else [],
        "kind",
    )
    yield _counter(
        "fleet_model_failures",
        "Times that the pool's newest model could not be had, or was not what the pool says, by kind.",
        _by(dict.fromkeys(KINDS, 0) | report.model_failures) if here else [],
        "kind",
    )
    failing = health.ingest.failing or (report.failing if here else "")
    of_fleet = [((kind,), float(kind == failing)) for kind in FAULTS if here or health.ingest.stream]
    yield _gauge("fleet_failing", "1 for what is wrong with the fleet's servers now, by kind.", of_fleet, "kind")


def _pool(health: Health) -> Iterator[Metric]:
    report = health.ingest

    def one(value: float | None) -> Labelled:
        return _one(value if report.stream else None)

    yield _gauge("pool_unread_messages", "Messages in the stream that are not taken yet.", one(report.unread))
    yield _gauge("pool_senders", "Sidecars that samples have come from.", one(report.senders))
    told = "Sidecars from which nothing is learned, since their scores do not fit the others'."
    yield _gauge("pool_distrusted_senders", told, one(len(report.distrusted)))
    yield _counter("pool_over_quota_samples", "Samples that were more than a sidecar may send.", one(report.over_quota))
    yield _counter("pool_lost_samples", "Samples that left the stream before they were read.", one(report.lost))


def _one(value: float | None) -> Labelled:
    return [((), value)]


def _by(counts: dict[str, int]) -> Labelled:
    return [((name,), count) for name, count in sorted(counts.items())]


def _by_role(health: Health, field: str) -> Labelled:
    return [((role,), float(getattr(state, field))) for role, state in health.roles.items()]


def _gauge(name: str, about: str, values: Labelled, *labels: str) -> Metric:
    return _filled(GaugeMetricFamily(PREFIX + name, about, labels=labels), values)


def _counter(name: str, about: str, values: Labelled, *labels: str) -> Metric:
    return _filled(CounterMetricFamily(PREFIX + name, about, labels=labels), values)


def _filled(family: GaugeMetricFamily | CounterMetricFamily, values: Labelled) -> Metric:
    for labels, value in values:
        if value is not None:
            family.add_metric(labels, value)
    return family
