"""How a sidecar looks on a terminal: what `status` prints and `top` repeats."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from pipeline.checkpoints import names
from pipeline.monitor.live import doing

if TYPE_CHECKING:
    from pipeline.runtime.health import Health, RoleHealth

_PHASE_STYLES = {"running": "green", "initializing": "yellow", "paused": "yellow", "failed": "red"}
_LEVEL_STYLES = {"warning": "yellow", "error": "red", "critical": "red"}
_MODELS = {"ema": "trained (EMA)", "base": "base model", "stable": "last stable"}


def headline(health: Health) -> Text:
    """Return phase and what is being done, in a line."""
    if not health.running:
        return Text(doing(health), style="bold")
    orders = "".join(f"\n{order}" for order in health.trainer.orders)
    return Text.assemble((health.phase, f"bold {_PHASE_STYLES[health.phase]}"), "  ", doing(health), orders)


def processes(health: Health) -> Table:
    """Return a row for each process."""
    table = Table("process", "phase", "pid", "restarts", "heartbeat", "what")
    for role, state in health.roles.items():
        what = "\n".join(filter(None, [_summary(role, health), state.problem]))
        phase = Text(state.phase, style=_style(role, state))
        table.add_row(role, phase, str(state.pid or "-"), str(state.restarts), _age(state.heartbeat_age), Text(what))
    return table


def figures(health: Health) -> Table:
    """Return how well the models predict."""
    table = Table("model", "RMSE", "PLCC", "RMSE held out", "PLCC held out", title_justify="left")
    for model, name in _MODELS.items():
        shown = [
            _figure(health.trainer.metrics.get(f"{on}_{model}_{figure}"))
            for on in ("prequential", "held_out")
            for figure in ("rmse", "plcc")
        ]
        table.add_row(name, *shown)
    return table


def event(fields: dict[str, Any]) -> Text:
    """Return a log event as a line."""
    fields = dict(fields)
    when, level = str(fields.pop("timestamp", ""))[11:19], str(fields.pop("level", ""))
    role, name = str(fields.pop("role", "")), str(fields.pop("event", ""))
    rest = " ".join(f"{key}={value}" for key, value in fields.items())
    style = _LEVEL_STYLES.get(level, "")
    return Text.assemble((when, "dim"), "  ", (f"{level:<8}", style), f"{role:<9}", (f"{name}  ", "bold"), rest)


def _style(role: str, state: RoleHealth) -> str:
    if state.progressing and not (state.suspended or state.failed):
        return "green"
    return "yellow" if role == "monitor" or state.suspended else "red"


def _age(seconds: float) -> str:
    return "-" if math.isinf(seconds) else f"{seconds:.1f} s ago"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _summary(role: str, health: Health) -> str:
    about = {
        "ingest": _ingest,
        "trainer": _trainer,
        "exporter": _exporter,
        "archive": _archive,
        "publisher": _publisher,
        "uplink": _uplink,
        "monitor": _monitor,
    }
    return about[role](health)


def _ingest(health: Health) -> str:
    report = health.ingest
    refused = sum(report.rejected.values())
    fill = min(report.accepted, report.capacity)
    if report.stream:
        senders = "1 sidecar" if report.senders == 1 else f"{report.senders:,} sidecars"
        return (
            f"{report.accepted:,} samples of {senders}, {report.resent:,} resent, "
            f"{refused:,} refused, {report.over_quota:,} above the quota, {report.lost:,} lost\n"
            f"{report.unread:,} messages unread, ring {fill:,} of {report.capacity:,}\n{report.stream}"
        )
    clients = "1 client" if report.connections == 1 else f"{report.connections} clients"
    kept_out = f"\n{report.forgotten:,} forgotten, kept out" if report.forgotten else ""
    return (
        f"{report.accepted:,} samples, {report.resent:,} resent, {refused:,} refused, {clients}\n"
        f"ring {fill:,} of {report.capacity:,}{kept_out}"
    )


def _trainer(health: Health) -> str:
    report = health.trainer
    loss = "" if report.loss is None else f", loss {report.loss:.4g}"
    model, device = report.base_model or "no base model yet", report.device or "no device yet"
    note = f"\n{report.device_note}" if report.device_note else ""
    prior = f", prior {report.metrics['prior']:g}" if "prior" in report.metrics else ""
    return f"step {report.step:,}, lag {report.lag:,}{loss}{prior}\n{model} on {device}{note}"


def _exporter(health: Health) -> str:
    report = health.exporter
    if not report.version:
        return "no checkpoint yet"
    stable = names.stem(report.stable_version) if report.stable_version else "none"
    newest = f"{names.stem(report.version)} ({report.latest_state})"
    lines = [f"{newest}{_at(report.checkpoint_at)}, stable: {stable}", report.latest_reason]
    lines += [f"from {report.latest_origin}"] if report.latest_origin else []
    return "\n".join([*lines, f"last offer from elsewhere: {report.offer}"] if report.offer else lines)


def _archive(health: Health) -> str:
    report = health.archive
    missed = f", {report.missed:,} missed" if report.missed else ""
    return f"{report.archived:,} samples archived, {report.waiting:,} waiting{missed}\n{report.directory}"


def _publisher(health: Health) -> str:
    report = health.publisher
    lines = []
    if report.pushed_version:
        lines.append(f"{names.stem(report.pushed_version)} pushed{_at(report.pushed_at)}, {report.pushed}")
    if report.pointed_version:
        lines.append(f"newest in the registry: {names.stem(report.pointed_version)}")
    if report.failing:
        waiting = f", a version waits since {_clock(report.waiting_since)}" if report.waiting_since else ""
        lines.append(f"{report.failing} since {_clock(report.failing_since)}{waiting}")
    if report.newer_base:
        lines.append(f"the registry has a newer base model, {report.newer_base}: a restart takes it")
    if report.announced:
        lines.append(f"the fleet is told of {report.announced}")
    return "\n".join(lines) or "nothing pushed yet"


def _at(when: float) -> str:
    return f" at {_clock(when)}" if when else ""


def _clock(when: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(when))


def _uplink(health: Health) -> str:
    report = health.uplink
    dropped = f", {report.missed:,} dropped" if report.missed else ""
    model = f"\nthe pool's newest model: {report.announced}" if report.announced else ""
    return (
        f"{report.sent:,} samples shared, {report.left_out:,} left out{dropped}\n{report.fleet} as {report.node}{model}"
    )


def _monitor(health: Health) -> str:
    return health.monitor.http or "no HTTP"
