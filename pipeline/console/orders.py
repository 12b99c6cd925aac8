"""What an operator orders: `pause`, `resume`, `freeze`, `unfreeze`, `quarantine`, `reset --to`, and `history`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import click
import msgspec

from pipeline.config import Settings
from pipeline.console.target import settings_of, socket_option
from pipeline.runtime import control as orders
from pipeline.runtime.control import Control, ControlError, Order, Quarantine, Reset

_reason = click.option("--reason", default="", help="Why; kept in the history.")


@contextmanager
def in_one_line() -> Iterator[None]:
    """Show what keeps an order from being given as one line."""
    try:
        yield
    except ControlError as error:
        raise click.ClickException(str(error)) from None
    except BlockingIOError:
        raise click.ClickException("another command is giving an order; try again") from None
    except OSError as error:
        raise click.ClickException(f"{error.filename or ''}: {error.strerror}") from None


def give(
    settings: Settings, text: str, reason: str, alter: Callable[[Control, Order], Control], weights: bytes = b""
) -> Control:
    """Put an order in force; show what goes wrong as one line."""
    with in_one_line():
        return orders.change(settings, text, reason, alter, weights)


@click.command(epilog='Example: vmafx-sidecar pause --reason "scores look wrong since noon"')
@socket_option
@_reason
def pause(socket: Path | None, reason: str) -> None:
    """Stop training and publishing. Samples are still taken and answered."""
    give(settings_of(socket), "pause", reason, lambda now, order: msgspec.structs.replace(now, paused=order))
    click.echo("paused; vmafx-sidecar resume goes on")


@click.command(epilog="Example: vmafx-sidecar resume")
@socket_option
@_reason
def resume(socket: Path | None, reason: str) -> None:
    """Go on with training and publishing after `pause`."""
    give(settings_of(socket), "resume", reason, lambda now, _: msgspec.structs.replace(now, paused=None))
    click.echo("resumed")


@click.command(epilog='Example: vmafx-sidecar freeze --reason "release week"')
@socket_option
@_reason
def freeze(socket: Path | None, reason: str) -> None:
    """Let no further checkpoint become stable. Training and judging go on."""
    give(settings_of(socket), "freeze", reason, lambda now, order: msgspec.structs.replace(now, frozen=order))
    click.echo("frozen; vmafx-sidecar unfreeze lets checkpoints become stable again")


@click.command(epilog="Example: vmafx-sidecar unfreeze")
@socket_option
@_reason
def unfreeze(socket: Path | None, reason: str) -> None:
    """Let checkpoints become stable again after `freeze`."""
    give(settings_of(socket), "unfreeze", reason, lambda now, _: msgspec.structs.replace(now, frozen=None))
    click.echo("unfrozen")


class _Time(click.ParamType):  # type: ignore[type-arg]  # it has none before click 8.2
    """A time as RFC 3339, in the local zone where it names none."""

    name = "time"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            return datetime.fromisoformat(value).astimezone().timestamp()
        except (ValueError, OverflowError):
            self.fail(f"{value!r}: expected a time such as 2026-05-28T12:34:56Z", param, ctx)


@click.command(epilog="Example: vmafx-sidecar quarantine --node encoder-7 --since 2026-05-28T12:00:00Z")
@socket_option
@click.option(
    "--group", help="Samples of this source_id (or job_id where none was sent), or its hash as 0x and 16 digits."
)
@click.option("--node", help="Samples of this node_id.")
@click.option("--since", type=_Time(), help="Samples that arrived at this time or later.")
@click.option("--until", type=_Time(), help="Samples that arrived before this time.")
@click.option("--lift", type=int, metavar="NUMBER", help="End the quarantine with this number.")
@_reason
def quarantine(
    socket: Path | None,
    group: str | None,
    node: str | None,
    since: float | None,
    until: float | None,
    lift: int | None,
    reason: str,
) -> None:
    """Leave samples out of training and judging: those that are here, and those to come.

    They leave the reservoir and the held-out samples at once, and are replayed no more. New ones are answered as
    before. What the weights have learned from them stays: see `reset --to`. Without options, lists what is in force.
    """
    settings = settings_of(socket)
    chosen = (group, node, since, until) != (None, None, None, None)
    if lift is not None:
        if chosen:
            raise click.UsageError("--lift NUMBER takes no other option")
        return _lift(settings, lift, reason)
    if not chosen:
        with in_one_line():
            in_force = orders.read(settings.state_dir).control.quarantines
        for each in in_force:
            click.echo(f"{each.number}: {orders.describe(each)}")
        if not in_force:
            click.echo("nothing is quarantined")
        return None
    if since is not None and until is not None and since >= until:
        raise click.UsageError("--since must be before --until")

    def alter(now: Control, order: Order) -> Control:
        rule = Quarantine(
            number=order.number, group=group or "", group_hash=None if group is None else _hash(group),
            node=node or "", node_hash=None if node is None else _hash(node), since=since, until=until,
        )  # fmt: skip
        return msgspec.structs.replace(now, quarantines=(*now.quarantines, rule))

    given = give(settings, f"quarantine {_told(group, node, since, until)}", reason, alter)
    click.echo(f"quarantine {given.number}: {orders.describe(given.quarantines[-1])}")
    return None


def _lift(settings: Settings, number: int, reason: str) -> None:
    def alter(now: Control, _order: Order) -> Control:
        if number not in {each.number for each in now.quarantines}:
            raise ControlError(f"no quarantine has number {number}; vmafx-sidecar quarantine lists them")
        kept = tuple(each for each in now.quarantines if each.number != number)
        return msgspec.structs.replace(now, quarantines=kept)

    give(settings, f"quarantine --lift {number}", reason, alter)
    click.echo(f"quarantine {number} is lifted")


def _hash(name: str) -> int:
    from pipeline.ingest.dedup import name_hashes

    if len(name) == 18 and name.startswith("0x"):
        try:
            return int(name, 16)
        except ValueError:
            pass
    return int(name_hashes([name])[0])


def _told(group: str | None, node: str | None, since: float | None, until: float | None) -> str:
    given = (("--group", group), ("--node", node), ("--since", since), ("--until", until))
    return " ".join(f"{option} {value}" for option, value in given if value is not None)


@click.command(epilog="Example: vmafx-sidecar history")
@socket_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines.")
def history(socket: Path | None, as_json: bool) -> None:
    """List what operators have ordered: when, who, what and why, oldest first."""
    with in_one_line():
        given = orders.history(settings_of(socket).state_dir)
    for each in given:
        told = f"{each.number:4}  {each.at}  {each.user}  {each.text}" + (f"  ({each.reason})" if each.reason else "")
        click.echo(msgspec.json.encode(each) if as_json else told)
    if not given and not as_json:
        click.echo("no orders yet")


def start_over(settings: Settings, to: str, forget_samples: bool, reason: str) -> str:
    """Order the training to start over from `to`: base, latest-stable or a version; return what it goes to."""
    from pipeline.checkpoints.checkpoint import CheckpointError
    from pipeline.model.errors import UnusableModel

    try:
        version = _version(settings, to)
        vector, digest = (b"", "") if version is None else _weights(settings, version)
    except (CheckpointError, UnusableModel) as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename or ''}: {error.strerror}") from None
    name = "base" if version is None else str(version)

    def alter(now: Control, order: Order) -> Control:
        reset = Reset(number=order.number, to=name, forget_samples=forget_samples, base_digest=digest)
        return msgspec.structs.replace(now, reset=reset)

    give(settings, f"reset --to {to}" + (" --forget-samples" if forget_samples else ""), reason, alter, vector)
    return "the base model" if version is None else f"version {version}"


def _version(settings: Settings, to: str) -> int | None:
    """Return the version that is meant; None for the base model. Raises CheckpointError."""
    from pipeline.checkpoints import pointers
    from pipeline.checkpoints.checkpoint import CheckpointError
    from pipeline.checkpoints.cli import parse_version

    if to == "base":
        return None
    if to == "latest-stable":
        version = pointers.pointed(settings.checkpoint_dir, pointers.LATEST_STABLE)
        if version is None:
            raise CheckpointError(f"{settings.checkpoint_dir}: no checkpoint is stable; reset --to base")
        return version
    return parse_version(to)


def _weights(settings: Settings, version: int) -> tuple[bytes, str]:
    """Return a version's weights float32[n_parameters], and the digest of its base model."""
    from pipeline.checkpoints import checkpoint
    from pipeline.checkpoints.names import file_of
    from pipeline.model.graph import parse_base_model

    known = checkpoint.read(settings.checkpoint_dir, version)
    path = file_of(settings.checkpoint_dir, version)
    return parse_base_model(path.read_bytes(), path.name).vector().tobytes(), known.base_sha256
