"""`vmafx-sidecar send`: libvmaf's logs into a sidecar."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.console.target import NoSidecar, base_model_of, settings_of
from pipeline.libvmaf import options
from pipeline.libvmaf.options import naming_options, wanted_options

if TYPE_CHECKING:
    from pipeline.libvmaf.naming import Naming
    from pipeline.libvmaf.samples import Wanted
    from pipeline.libvmaf.sender import Sender
    from pipeline.runtime.lifecycle import StopFlag

_PATH = click.Path(path_type=Path)
_DIRECTORY = click.Path(exists=True, file_okay=False, path_type=Path)
_MODEL = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(epilog="Example: vmafx-sidecar send logs/*.json --file-name '{source_id}_{codec}_{crf}'")
@click.argument("logs", metavar="LOG...", nargs=-1, type=_PATH)
@click.option("--watch", type=_DIRECTORY, help="Take the logs of this directory as they appear, in place of LOG.")
@click.option("--socket", type=_PATH, help="Where the sidecar listens.  [default: VMAFX_SIDECAR_SOCKET]")
@click.option("--model", type=_MODEL, help="The sidecar's base model.  [default: VMAFX_BASE_MODEL_PATH]")
@wanted_options
@naming_options
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Samples a second at most.")
@click.option(
    "--quiet-s",
    type=click.FloatRange(min=0, min_open=True),
    default=5.0,
    show_default=True,
    help="With --watch: a log that has not changed for so long is complete.",
)
def send(
    logs: tuple[Path, ...], watch: Path | None, socket: Path | None, model: Path | None, target: str, pool: str,
    how: str, features: str | None, rate: float | None, quiet_s: float, pattern: str, others: tuple[str, ...],
    **given: Any,
) -> None:  # fmt: skip
    """Send the frames of libvmaf's logs, in JSON, XML or CSV, to a sidecar as samples.

    Where the sidecar is lost, it waits and goes on: no sample is lost, and none is stored twice. Ctrl-C or SIGTERM
    stops it. With --watch it runs until then, and notes in the directory what was sent: no later watch sends it again.

    Exits with 0 when every frame was accepted, with 1 when some were left out, refused or not sent, and with 3 when
    there is no sidecar. With --watch, what is left out is told, and no reason to exit with 1.
    """
    from pipeline.console.mistakes import in_one_line
    from pipeline.libvmaf.block import LogError
    from pipeline.libvmaf.naming import same_jobs
    from pipeline.libvmaf.sender import Refused, silence
    from pipeline.model.errors import UnusableModel
    from pipeline.runtime.lifecycle import StopFlag

    if bool(logs) == (watch is not None):
        raise click.UsageError("give either LOG or --watch")
    settings = settings_of(socket)
    with in_one_line(LogError, UnusableModel, Refused):
        taken = options.features_taken(model or base_model_of(settings), features)
        columns = options.wanted(
            taken, target=target, pool=pool, how=how, frame_rate=given["frame_rate"], needs_score=True
        )
        naming = options.naming(pattern, others, **given)
        if job := same_jobs(logs, naming):
            raise LogError(f"two logs would have the job_id {job!r}: give --file-name, or send them one by one")
        if not watch and (reason := silence(settings.socket)):
            raise NoSidecar(f"no sidecar listens at {settings.socket}: {reason}")
        stop = StopFlag()
        with _sender(settings.socket, columns, naming, stop, rate) as sender:
            if watch:
                _follow(watch, sender, stop, quiet_s)
            else:
                _send_all(logs, sender)


@contextmanager
def _sender(path: Path, columns: Wanted, naming: Naming, stop: StopFlag, rate: float | None) -> Iterator[Sender]:
    """Open a client, show how far it is, and give the counts at the end, whichever end that is."""
    from pipeline.libvmaf.progress import shown
    from pipeline.libvmaf.sender import Sender, Stopped

    _log_to_standard_error()
    sender = Sender(path, columns, naming, stop, lambda line: click.echo(line, err=True), rate or 0.0)
    try:
        with shown(sender):
            yield sender
    except Stopped:
        pass
    finally:
        sender.client.close(drain_timeout=0.0)
        click.echo(sender.summary())
    if not sender.all_accepted():
        raise click.exceptions.Exit(1)


def _send_all(logs: tuple[Path, ...], sender: Sender) -> None:
    for path in logs:
        if shipment := sender.open(path):
            shipment.advance()
            shipment.conclude()
    sender.drain()
    if sender.counts.complaints:
        raise click.exceptions.Exit(1)


def _follow(directory: Path, sender: Sender, stop: StopFlag, quiet_s: float) -> None:
    from pipeline.libvmaf import ledger
    from pipeline.libvmaf.watch import Watch

    with ledger.opened(directory) as sent:
        Watch(directory, sender, sent, stop, quiet_s, click.echo).run()


def _log_to_standard_error() -> None:
    """Let the client's events, such as a lost connection, go where other complaints go."""
    import structlog

    structlog.configure(logger_factory=structlog.WriteLoggerFactory(sys.stderr))
