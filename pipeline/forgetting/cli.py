"""`vmafx-sidecar forget`."""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from msgspec import MsgspecError

from pipeline.config import Settings
from pipeline.console import parameters
from pipeline.console.mistakes import in_one_line
from pipeline.console.orders import give, settings_for, start_over
from pipeline.console.target import socket_option
from pipeline.forgetting import kept_out, pending
from pipeline.forgetting.names import Unnamed
from pipeline.forgetting.pending import Pending
from pipeline.forgetting.selection import Selection
from pipeline.registry.registry import RegistryError
from pipeline.runtime.control import Control, ControlError, Order, Reset
from pipeline.runtime.locks import DirectoryTaken, held
from pipeline.runtime.reports import rfc3339
from pipeline.shm.segment import SegmentError

if TYPE_CHECKING:
    from pipeline.forgetting.memory import Content

DOUBTFUL = "an older release saved them without job, tenant and node; --group or --before reaches them"
STREAMED = "messages of the stream with such samples, until they age out: whole nodes and tenants go, nothing smaller"
LEARNED = "weights that were learned from these samples stay as they are; --retrain starts over from the base model"
FROM_BASE = "training starts over from the base model, with the samples that memory has"
IN_BLOCKS = "bytes of the removed messages in the server's own files, until it writes those anew"

_PATIENCE_S = 5.0
"""How long an exporter that was told to end may keep the directory."""


@click.command(
    epilog="Exit code: 0 all of it is done, 1 something could not be reached: give the command again. "
    "Example: vmafx-sidecar forget --job 3f1c --dry-run"
)
@socket_option
@click.option("--job", callback=parameters.name, help="Samples of this job_id.")
@click.option("--tenant", callback=parameters.name, help="Samples of this tenant_id.")
@click.option(
    "--group", callback=parameters.name, help="Samples of this source_id; of this job_id where they have none."
)
@click.option("--node", callback=parameters.name, help="Samples of this node_id; in a pool, of this sidecar.")
@click.option(
    "--before", callback=parameters.moment, metavar="DATE", help="Samples that arrived before this time, in UTC."
)
@click.option("--dry-run", is_flag=True, help="Only count.")
@click.option("--retrain", is_flag=True, help="Also learn again, from the base model, without them.")
@click.option("--list", "listing", is_flag=True, help="Only show what is kept out since it was forgotten.")
@click.option("--lift", is_flag=True, help="Only take such samples again, old ones, too.")
def forget(
    socket: Path | None,
    job: str | None,
    tenant: str | None,
    group: str | None,
    node: str | None,
    before: float | None,
    dry_run: bool,
    retrain: bool,
    listing: bool,
    lift: bool,
) -> None:
    """Remove samples from everything that the sidecar keeps, and print a receipt in JSON.

    From ring, reservoir, held-out samples, saved state, and archive; in a pool, from its tenant's stream, too, where
    --node or --tenant alone is given. Several options mean samples that fit all of them.
    Where a sidecar runs, its processes are ended for it and begin again: nodes wait some seconds for an answer. A
    command that was killed goes on where any `forget` is given next. What the model has learned from them stays,
    but with --retrain: then training starts over from the base model and what the archive has left, with the recipe
    that the settings of this command say.

    What was forgotten is not taken where it is sent again: no sample of a job; of a tenant, a group or a node, none
    that was captured before or has no captured_at. --lift ends that, by the name or by the hash that --list shows.
    """
    settings = settings_for(socket)
    asked = Selection(job=job, tenant=tenant, group=group, node=node, before=before)
    if listing:
        return kept_out.show(settings)
    if lift:
        if before is not None or asked == Selection():
            raise click.UsageError(
                "--lift takes the --job, --tenant, --group and --node that were forgotten, nothing else"
            )
        return kept_out.let_in(settings, asked)
    with in_one_line(SegmentError, DirectoryTaken):
        wanted = pending.together(pending.read(settings), asked, retrain=retrain)
        if not wanted:
            raise click.UsageError("say which samples: --job, --tenant, --group, --node or --before")
        receipts = [_forget(settings, each, dry_run=dry_run) for each in wanted]
        if wanted[-1].retrain and not dry_run:
            _learn_again(settings, receipts)
    for receipt in receipts:
        click.echo(msgspec.json.format(msgspec.json.encode(receipt), indent=2).decode())
    raise SystemExit(1 if any(receipt["not_reached"] for receipt in receipts) else 0)


def _forget(settings: Settings, wanted: Pending, *, dry_run: bool) -> dict[str, Any]:
    began = time.monotonic()
    receipt: dict[str, Any] = {
        "forgotten": not dry_run,
        "selection": wanted.selection,
        "at": rfc3339(time.time()),
        "removed": {},
        "not_reached": [],
        "stays": [],
        "learned": LEARNED,
    }
    if wanted.is_removed:
        receipt["learned"] = (
            "the samples of a command before are removed; to learn again is left" if dry_run else FROM_BASE
        )
    elif dry_run:
        _count(settings, wanted.selection, receipt)
    else:
        _do_it(settings, wanted, receipt)
    receipt["seconds"] = round(time.monotonic() - began, 3)
    return receipt


def _do_it(settings: Settings, wanted: Pending, receipt: dict[str, Any]) -> None:
    from pipeline.forgetting import memory, saved
    from pipeline.forgetting.stand_still import standing_still

    selection = wanted.selection
    with standing_still(settings), held(settings.checkpoint_dir, _PATIENCE_S):
        content = memory.look(settings, selection)
        names = sorted({*wanted.names, *content.names, *selection.whole().values()})
        wanted = msgspec.structs.replace(wanted, names=names)
        pending.write(settings, wanted)
        kept_out.keep_out(settings, selection)
        _remove(settings, wanted, content, receipt)
        doubtful = content.doubtful + saved.doubtful(settings.state_dir, selection)
        if doubtful:
            receipt["stays"].append(f"{doubtful} rows, counted in each place: {DOUBTFUL}")
        if wanted.retrain:
            start_over(settings, "base", forget_samples=False, reason="forget")
            receipt["learned"] = FROM_BASE
        if not receipt["not_reached"]:
            pending.removed(settings, retrain=wanted.retrain)
        _name_the_rest(settings, wanted, receipt)


def _learn_again(settings: Settings, receipts: list[dict[str, Any]]) -> None:
    """Learn again once everything is removed: the archive may still hold what was not reached."""
    began, last = time.monotonic(), receipts[-1]
    if any(receipt["not_reached"] for receipt in receipts):
        last["not_reached"].append("retrain: waits for the rest")
    else:
        _retrain(settings, last)
    last["seconds"] = round(last["seconds"] + time.monotonic() - began, 3)


def _retrain(settings: Settings, receipt: dict[str, Any]) -> None:
    """Learn from the archive while the sidecar goes on, and have its training start over from what was learned."""
    from pipeline.archive.reading import ArchiveError, has_samples
    from pipeline.forgetting.retraining import RetrainingError, retrained
    from pipeline.model.errors import UnusableModel
    from pipeline.simulation.samples import SamplesError

    archive = archive_of(settings)
    if archive is None or not has_samples(archive):
        return pending.learned(settings)
    with click.progressbar(length=1, label="learning again", file=sys.stderr) as bar:
        try:
            base, weights, samples = retrained(settings, archive, lambda done, of: _show(bar, done, of))
        except (ArchiveError, RetrainingError, SamplesError, UnusableModel, ControlError, OSError) as error:
            receipt["not_reached"].append(f"retrain: {error}")
            return None

    def alter(now: Control, order: Order) -> Control:
        reset = Reset(number=order.number, to="archive", base_digest=base.digest)
        return msgspec.structs.replace(now, reset=reset)

    give(settings, "forget --retrain", f"{samples} samples of the archive", alter, weights.tobytes())
    receipt["learned"] = f"training starts over from what {samples} samples of the archive teach the base model"
    return pending.learned(settings)


def _show(bar: Any, done: int, of: int) -> None:
    bar.length = of
    bar.update(done - bar.pos)


def _count(settings: Settings, selection: Selection, receipt: dict[str, Any]) -> None:
    from pipeline.forgetting import archived, memory, saved

    _do_stream(settings, selection, receipt, only_count=True)
    archive, unnamed, state_dir = archive_of(settings), Unnamed(()), settings.state_dir
    _do(
        receipt,
        memory=lambda: memory.count(settings, selection),
        saved_state=lambda: saved.remove(state_dir, selection, unnamed, only_count=True),
        archive=lambda: archived.remove(archive, selection, only_count=True)._asdict() if archive else {},
    )


def _remove(settings: Settings, wanted: Pending, content: Content, receipt: dict[str, Any]) -> None:
    from pipeline.forgetting import archived, memory, saved, written

    archive, unnamed, selection = archive_of(settings), Unnamed(wanted.names), wanted.selection
    _do_stream(settings, selection, receipt, only_count=False)
    _do(
        receipt,
        memory=lambda: memory.remove(settings, selection, content.gone),
        saved_state=lambda: saved.remove(settings.state_dir, selection, unnamed),
        archive=lambda: archived.remove(archive, selection)._asdict() if archive else {},
        names=lambda: written.remove(settings, unnamed),
    )


def _do_stream(settings: Settings, selection: Selection, receipt: dict[str, Any], *, only_count: bool) -> None:
    """Do the stream of a pool, before anything that takes longer: what is sent after the command stays."""
    from pipeline.forgetting import streamed

    if not streamed.is_pool(settings):
        return
    _do(receipt, stream=lambda: streamed.remove(settings, selection, only_count=only_count))
    if selection.sender(settings.fleet_tenant) is None:
        receipt["stays"].append(STREAMED)
    elif not only_count:
        receipt["stays"].append(IN_BLOCKS)


def _do(receipt: dict[str, Any], **parts: Callable[[], dict[str, int]]) -> None:
    """Do each part, whatever becomes of the others."""
    for name, part in parts.items():
        try:
            receipt["removed"][name] = part()
        except (
            OSError,
            SegmentError,
            DirectoryTaken,
            ControlError,
            RegistryError,
            sqlite3.Error,
            MsgspecError,
        ) as error:
            receipt["not_reached"].append(f"{name}: {error}")


def _name_the_rest(settings: Settings, wanted: Pending, receipt: dict[str, Any]) -> None:
    """Say where names still are, and what this command does not look into."""
    from pipeline.forgetting import written

    receipt["stays"] += [f"a name in {path}" for path in written.named(settings, Unnamed(wanted.names))]
    receipt["stays"] += ["what was logged, copied, backed up or pushed elsewhere before"]


def archive_of(settings: Settings) -> Path | None:
    """Return the archive's directory: that of the settings, or as the sidecar reports it; None where there is none."""
    from pipeline.runtime import regions

    if settings.archive_dir is not None:
        return settings.archive_dir
    try:
        directory = regions.attach_board(settings.instance_name).archive().directory
    except SegmentError:
        return None
    return Path(directory) if directory else None
