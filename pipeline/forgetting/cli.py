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
from pipeline.forgetting.names import Unnamed
from pipeline.forgetting.selection import Selection
from pipeline.registry.registry import RegistryError
from pipeline.runtime.control import Control, ControlError, Order, Reset
from pipeline.runtime.durable import write_durably
from pipeline.runtime.locks import DirectoryTaken
from pipeline.runtime.reports import rfc3339
from pipeline.shm.segment import SegmentError

if TYPE_CHECKING:
    from pipeline.forgetting.memory import Content

PENDING = "forget.json"
"""In the state directory: what is being forgotten, until it is."""

DOUBTFUL = "an older release saved them without job and tenant; --group or --before reaches them"
LEARNED = "weights that were learned from these samples stay as they are; --retrain starts over from the base model"


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """What is being forgotten, and the names that go with it, which memory alone knew."""

    selection: Selection
    names: list[str] = []


@click.command(
    epilog="Exit code: 0 all of it is done, 1 something could not be reached: give the command again. "
    "Example: vmafx-sidecar forget --job 3f1c --dry-run"
)
@socket_option
@click.option("--job", help="Samples of this job_id.")
@click.option("--tenant", help="Samples of this tenant_id.")
@click.option("--group", help="Samples of this source_id; of this job_id where they have none.")
@click.option(
    "--before", callback=parameters.moment, metavar="DATE", help="Samples that arrived before this time, in UTC."
)
@click.option("--dry-run", is_flag=True, help="Only count.")
@click.option("--retrain", is_flag=True, help="Also learn again, from the base model, without them.")
def forget(
    socket: Path | None,
    job: str | None,
    tenant: str | None,
    group: str | None,
    before: float | None,
    dry_run: bool,
    retrain: bool,
) -> None:
    """Remove samples from everything that the sidecar keeps, and print a receipt in JSON.

    From ring, reservoir, held-out samples, saved state, and archive; several options mean samples that fit all of them.
    Where a sidecar runs, its processes are ended for it and begin again: nodes wait some seconds for an answer. A
    command that was killed goes on where any `forget` is given next. What the model has learned from them stays,
    but with --retrain: then training starts over from the base model and what the archive has left, with the recipe
    that the settings of this command say.
    """
    settings = settings_for(socket)
    asked = Selection(job=job, tenant=tenant, group=group, before=before)
    with in_one_line(SegmentError):
        left = _pending(settings)
        if asked == Selection() and left is None:
            raise click.UsageError("say which samples: --job, --tenant, --group or --before")
        wanted = [] if left is None else [left]
        wanted += (
            [Pending(selection=asked)] if asked != Selection() and (left is None or left.selection != asked) else []
        )
        receipts = [_forget(settings, each, dry_run=dry_run, retrain=retrain) for each in wanted]
    for receipt in receipts:
        click.echo(msgspec.json.format(msgspec.json.encode(receipt), indent=2).decode())
    raise SystemExit(1 if any(receipt["not_reached"] for receipt in receipts) else 0)


def _forget(settings: Settings, pending: Pending, *, dry_run: bool, retrain: bool) -> dict[str, Any]:
    from pipeline.forgetting import memory, saved
    from pipeline.forgetting.stand_still import standing_still

    began, selection = time.monotonic(), pending.selection
    receipt: dict[str, Any] = {
        "forgotten": not dry_run,
        "selection": selection,
        "at": rfc3339(time.time()),
        "removed": {},
        "not_reached": [],
        "stays": [],
        "learned": LEARNED,
    }
    if dry_run:
        _count(settings, selection, receipt)
    else:
        path = settings.state_dir / PENDING
        settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with standing_still(settings):
            content = memory.look(settings, selection)
            pending = Pending(
                selection=selection, names=sorted({*pending.names, *content.names, *selection.whole().values()})
            )
            write_durably(path, msgspec.json.encode(pending), mode=0o600)
            _keep_from_coming_back(settings, selection)
            _remove(settings, pending, content, receipt)
            doubtful = content.doubtful + saved.doubtful(settings.state_dir, selection)
            if doubtful:
                receipt["stays"].append(f"{doubtful} rows, counted in each place: {DOUBTFUL}")
            if not receipt["not_reached"]:
                path.unlink()
            _name_the_rest(settings, pending, receipt)
            if retrain:
                start_over(settings, "base", forget_samples=False, reason="forget")
                receipt["learned"] = "training starts over from the base model, with the samples that memory has"
        if retrain:
            _retrain(settings, receipt)
    receipt["seconds"] = round(time.monotonic() - began, 3)
    return receipt


def _retrain(settings: Settings, receipt: dict[str, Any]) -> None:
    """Learn from the archive while the sidecar goes on, and have its training start over from what was learned."""
    from pipeline.archive.reading import ArchiveError
    from pipeline.forgetting.retraining import RetrainingError, retrained
    from pipeline.model.errors import UnusableModel
    from pipeline.simulation.samples import SamplesError

    archive = archive_of(settings)
    if archive is None:
        return
    with click.progressbar(length=1, label="learning again", file=sys.stderr) as bar:
        try:
            base, weights, samples = retrained(settings, archive, lambda done, of: _show(bar, done, of))
        except (ArchiveError, RetrainingError, SamplesError, UnusableModel, ControlError, OSError) as error:
            receipt["not_reached"].append(f"retrain: {error}")
            return

    def alter(now: Control, order: Order) -> Control:
        reset = Reset(number=order.number, to="archive", base_digest=base.digest)
        return msgspec.structs.replace(now, reset=reset)

    give(settings, "forget --retrain", f"{samples} samples of the archive", alter, weights.tobytes())
    receipt["learned"] = f"training starts over from what {samples} samples of the archive teach the base model"


def _show(bar: Any, done: int, of: int) -> None:
    bar.length = of
    bar.update(done - bar.pos)


def _count(settings: Settings, selection: Selection, receipt: dict[str, Any]) -> None:
    from pipeline.forgetting import archived, memory, saved

    archive, unnamed, state_dir = archive_of(settings), Unnamed(()), settings.state_dir
    _do(
        receipt,
        memory=lambda: memory.count(settings, selection),
        saved_state=lambda: saved.remove(state_dir, selection, unnamed, only_count=True),
        archive=lambda: archived.remove(archive, selection, only_count=True)._asdict() if archive else {},
    )


def _remove(settings: Settings, pending: Pending, content: Content, receipt: dict[str, Any]) -> None:
    from pipeline.forgetting import archived, memory, saved, written

    archive, unnamed, selection = archive_of(settings), Unnamed(pending.names), pending.selection
    _do(
        receipt,
        memory=lambda: memory.remove(settings, selection, content.gone),
        saved_state=lambda: saved.remove(settings.state_dir, selection, unnamed),
        archive=lambda: archived.remove(archive, selection)._asdict() if archive else {},
        names=lambda: written.remove(settings, unnamed),
    )


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


def _name_the_rest(settings: Settings, pending: Pending, receipt: dict[str, Any]) -> None:
    """Say where names still are, and what this command does not look into."""
    from pipeline.forgetting import written

    receipt["stays"] += [f"a name in {path}" for path in written.named(settings, Unnamed(pending.names))]
    receipt["stays"] += ["what was logged, copied, backed up or pushed elsewhere before"]


def _keep_from_coming_back(settings: Settings, selection: Selection) -> None:
    """Leave a rule for ingest, which reads it at its next start; the orders name nobody."""
    rule = selection.tombstone(time.time())
    by = [f"--{name}" for name, value in msgspec.structs.asdict(selection).items() if value is not None]
    give(settings, f"forget {' '.join(by)}", "", lambda now, _: now.with_forgotten(rule))


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


def _pending(settings: Settings) -> Pending | None:
    """Return what a command that was killed had begun to forget."""
    path = settings.state_dir / PENDING
    try:
        return msgspec.json.decode(path.read_bytes(), type=Pending)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise click.ClickException(f"{path}: {error}") from None
