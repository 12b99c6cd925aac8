"""`vmafx-sidecar forget`."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from pipeline.config import Settings
from pipeline.console.mistakes import in_one_line
from pipeline.console.orders import settings_for, start_over
from pipeline.console.target import socket_option
from pipeline.forgetting.selection import Selection
from pipeline.runtime.durable import write_durably
from pipeline.runtime.reports import rfc3339
from pipeline.shm.segment import SegmentError

PENDING = "forget.json"
"""In the state directory: what is being forgotten, until it is."""

LEARNED = "weights that were learned from these samples stay as they are; --retrain starts over from the base model"


def _moment(_context: click.Context, _parameter: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter("expected a day or a time such as 2026-11-22 or 2026-11-22T14:00:00Z") from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


@click.command(
    epilog="Exit code: 0 all of it is done, 1 something could not be reached: give the command again. "
    "Example: vmafx-sidecar forget --job 3f1c --dry-run"
)
@socket_option
@click.option("--job", help="Samples of this job_id.")
@click.option("--tenant", help="Samples of this tenant_id.")
@click.option("--group", help="Samples of this source_id; of this job_id where they have none.")
@click.option("--before", callback=_moment, metavar="DATE", help="Samples that arrived before this time, in UTC.")
@click.option("--dry-run", is_flag=True, help="Only count.")
@click.option("--retrain", is_flag=True, help="Also start training over from the base model.")
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
    command that was killed goes on where any `forget` is given next. What the model has learned from them stays.
    """
    settings = settings_for(socket)
    asked = Selection(job=job, tenant=tenant, group=group, before=before)
    with in_one_line(SegmentError):
        left = _pending(settings)
        if asked == Selection() and left is None:
            raise click.UsageError("say which samples: --job, --tenant, --group or --before")
        wanted = [] if left in (None, asked) else [left]
        wanted += [asked] if asked != Selection() else []
        receipts = [_forget(settings, each, dry_run=dry_run, retrain=retrain) for each in wanted]
    for receipt in receipts:
        click.echo(msgspec.json.format(msgspec.json.encode(receipt), indent=2).decode())
    raise SystemExit(1 if any(receipt["not_reached"] for receipt in receipts) else 0)


def _forget(settings: Settings, selection: Selection, *, dry_run: bool, retrain: bool) -> dict[str, Any]:
    from pipeline.forgetting.stand_still import standing_still

    began = time.monotonic()
    receipt: dict[str, Any] = {
        "forgotten": not dry_run,
        "selection": selection,
        "at": rfc3339(time.time()),
        "removed": {},
        "not_reached": [],
        "learned": LEARNED,
    }
    if dry_run:
        _remove(settings, selection, receipt, only_count=True)
    else:
        pending = settings.state_dir / PENDING
        settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_durably(pending, msgspec.json.encode(selection), mode=0o600)
        with standing_still(settings):
            _remove(settings, selection, receipt, only_count=False)
            if not receipt["not_reached"]:
                pending.unlink()
            if retrain:
                receipt["learned"] = (
                    f"training starts over from {start_over(settings, 'base', forget_samples=False, reason='forget')}"
                )
    receipt["seconds"] = round(time.monotonic() - began, 3)
    return receipt


def _remove(settings: Settings, selection: Selection, receipt: dict[str, Any], *, only_count: bool) -> None:
    from pipeline.forgetting import archived, memory, saved
    from pipeline.runtime.locks import DirectoryTaken

    removed, archive = receipt["removed"], archive_of(settings)
    for name, part in (
        ("memory", lambda: memory.remove(settings, selection, only_count=only_count)),
        ("saved_state", lambda: saved.remove(settings.state_dir, selection, only_count=only_count)),
        ("archive", lambda: archive and archived.remove(archive, selection, only_count=only_count)._asdict()),
    ):
        try:
            removed[name] = part() or {}
        except (OSError, SegmentError, DirectoryTaken) as error:
            receipt["not_reached"].append(f"{name}: {error}")


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


def _pending(settings: Settings) -> Selection | None:
    """Return what a command that was killed had begun to forget."""
    path = settings.state_dir / PENDING
    try:
        return msgspec.json.decode(path.read_bytes(), type=Selection)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise click.ClickException(f"{path}: {error}") from None
