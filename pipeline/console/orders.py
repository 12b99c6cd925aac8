"""What an operator orders: `pause`, `resume`, `freeze`, `unfreeze`, `quarantine`, `reset --to`, and `history`."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click
import msgspec

from pipeline.config import Settings
from pipeline.console import parameters
from pipeline.console.mistakes import in_one_line
from pipeline.console.target import NoSidecar, find_instance, settings_of, socket_option
from pipeline.runtime import control as orders
from pipeline.runtime import regions
from pipeline.runtime.control import Control, ControlError, Order, Quarantine, Reset, Withdrawn, withdrawn_model
from pipeline.runtime.durable import write_durably
from pipeline.shm.segment import SegmentError

_reason = click.option("--reason", default="", callback=parameters.text, help="Why; kept in the history.")


def settings_for(socket: Path | None, directory: Path | None = None) -> Settings:
    """Return the settings with instance and directory of the sidecar that is meant, as it reports them itself.

    A directory that is named, here or in the environment, is the one that is meant; a sidecar that publishes into
    another one is not. Where no sidecar is there, the order is in force at the next start.
    """
    settings = settings_of(socket)
    named = directory or (settings.checkpoint_dir if "VMAFX_SIDECAR_CHECKPOINT_DIR" in os.environ else None)
    if named is not None:
        settings = replace(settings, checkpoint_dir=named)
    try:
        instance = find_instance(socket)
        reported = regions.attach_board(instance).exporter().directory
    except (NoSidecar, SegmentError):
        return settings
    if named is not None and reported not in {"", str(named)}:
        return settings
    found = Path(reported) if reported else settings.checkpoint_dir
    return replace(settings, instance=instance, checkpoint_dir=found)


def give(
    settings: Settings, text: str, reason: str, alter: Callable[[Control, Order], Control], weights: bytes = b""
) -> Control:
    """Put an order in force; show what goes wrong as one line."""
    with in_one_line(ControlError):
        return orders.change(settings, text, reason, alter, weights)


@click.command(epilog='Example: vmafx-sidecar pause --reason "scores look wrong since noon"')
@socket_option
@_reason
def pause(socket: Path | None, reason: str) -> None:
    """Stop training and publishing. Samples are still taken and answered."""
    give(settings_for(socket), "pause", reason, lambda now, order: msgspec.structs.replace(now, paused=order))
    click.echo("paused; vmafx-sidecar resume goes on")


@click.command(epilog="Example: vmafx-sidecar resume")
@socket_option
@_reason
def resume(socket: Path | None, reason: str) -> None:
    """Go on with training and publishing after `pause`."""
    give(settings_for(socket), "resume", reason, lambda now, _: msgspec.structs.replace(now, paused=None))
    click.echo("resumed")


@click.command(epilog='Example: vmafx-sidecar freeze --reason "release week"')
@socket_option
@_reason
def freeze(socket: Path | None, reason: str) -> None:
    """Let no further checkpoint become stable. Training and judging go on."""
    give(settings_for(socket), "freeze", reason, lambda now, order: msgspec.structs.replace(now, frozen=order))
    click.echo("frozen; vmafx-sidecar unfreeze lets checkpoints become stable again")


@click.command(epilog="Example: vmafx-sidecar unfreeze")
@socket_option
@_reason
def unfreeze(socket: Path | None, reason: str) -> None:
    """Let checkpoints become stable again after `freeze`."""
    give(settings_for(socket), "unfreeze", reason, lambda now, _: msgspec.structs.replace(now, frozen=None))
    click.echo("unfrozen")


@click.command(epilog="Example: vmafx-sidecar quarantine --node encoder-7 --since 2026-05-28T12:00:00Z")
@socket_option
@click.option(
    "--group",
    callback=parameters.name,
    help="Samples of this source_id (or job_id where none was sent), or its hash as 0x and 16 digits.",
)
@click.option("--node", callback=parameters.name, help="Samples of this node_id.")
@click.option(
    "--since",
    callback=parameters.moment,
    metavar="TIME",
    help="Samples from this time on; UTC where it names no zone.",
)
@click.option("--until", callback=parameters.moment, metavar="TIME", help="Samples that arrived before this time.")
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
    settings = settings_for(socket)
    chosen = (group, node, since, until) != (None, None, None, None)
    if lift is not None:
        if chosen:
            raise click.UsageError("--lift NUMBER takes no other option")
        return _lift(settings, lift, reason)
    if not chosen:
        with in_one_line(ControlError):
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
            number=order.number, group=group or "", group_hash=None if group is None else name_hash(group),
            node=node or "", node_hash=None if node is None else name_hash(node), since=since, until=until,
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


def name_hash(name: str) -> int:
    """Return the hash of a name; of one that is given as a hash, 0x and 16 digits, that."""
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
    with in_one_line(ControlError):
        given = orders.history(settings_for(socket).state_dir)
    for each in given:
        told = f"{each.number:4}  {each.at}  {each.user}  {each.text}" + (f"  ({each.reason})" if each.reason else "")
        click.echo(msgspec.json.encode(each) if as_json else told)
    if not given and not as_json:
        click.echo("no orders yet")


def start_over(settings: Settings, to: int | str, *, forget_samples: bool, reason: str) -> str:
    """Order the training to start over from `to`, "base" or a version as given; return what that is, in words."""
    from pipeline.checkpoints.checkpoint import CheckpointError
    from pipeline.checkpoints.version import number
    from pipeline.model.errors import UnusableModel

    with in_one_line(ControlError, CheckpointError, UnusableModel):
        version = None if to == "base" else number(settings.checkpoint_dir, to)
        vector, digest = (b"", _base_digest(settings)) if version is None else _weights(settings, version)
    name = "base" if version is None else str(version)

    def alter(now: Control, order: Order) -> Control:
        reset = Reset(number=order.number, to=name, forget_samples=forget_samples, base_digest=digest)
        return msgspec.structs.replace(now, reset=reset)

    give(settings, f"reset --to {name}" + (" --forget-samples" if forget_samples else ""), reason, alter, vector)
    return "the base model" if version is None else f"version {version}"


def _base_digest(settings: Settings) -> str:
    """Return the digest of the base model in use; empty where no sidecar says it: then the next one's is meant."""
    try:
        return regions.attach_board(settings.instance_name).trainer().base_digest
    except SegmentError:
        return ""


def _weights(settings: Settings, version: int) -> tuple[bytes, str]:
    """Return a version's weights float32[n_parameters], and the digest of its base model."""
    from pipeline.checkpoints import checkpoint
    from pipeline.checkpoints.names import file_of
    from pipeline.model.graph import parse_base_model

    known = checkpoint.read(settings.checkpoint_dir, version)
    path = file_of(settings.checkpoint_dir, version)
    return parse_base_model(path.read_bytes(), path.name).vector().tobytes(), known.base_sha256


@click.command(epilog='Example: vmafx-sidecar rollback --reason "node 3 sent wrong scores"')
@socket_option
@click.option(
    "--directory", type=click.Path(path_type=Path), help="Directory of the checkpoints.  [default: the sidecar's]"
)
@click.option("--forget-samples", is_flag=True, help="Also forget all samples: ring, reservoir and held-out ones.")
@click.option("--lift", type=int, metavar="VERSION", help="Let a withdrawn version, and its like, become stable again.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_reason
def rollback(
    socket: Path | None, directory: Path | None, forget_samples: bool, lift: int | None, as_json: bool, reason: str
) -> None:
    """Withdraw the newest stable checkpoint, and train on from the one before it.

    latest-stable goes back to the one before, and so does the training; without one, to the base model. The withdrawn
    model, and any that predicts nearly the same, cannot become stable again until --lift. Samples stay: see
    `quarantine`, or --forget-samples.
    """
    from pipeline.checkpoints.version import existing

    settings = settings_for(socket, directory)
    existing(settings.checkpoint_dir)
    if lift is not None:
        return _lift_withdrawal(settings, lift, reason)
    _roll_back(settings, forget_samples, as_json, reason)
    return None


def _roll_back(settings: Settings, forget_samples: bool, as_json: bool, reason: str) -> None:
    from pipeline.checkpoints import commands
    from pipeline.checkpoints.checkpoint import CheckpointError
    from pipeline.checkpoints.names import file_of, stem
    from pipeline.checkpoints.pins import PinsError
    from pipeline.registry.registry import RegistryError

    with in_one_line(ControlError, CheckpointError, PinsError, RegistryError):
        bad = commands.stable(settings.checkpoint_dir)
        withdrawn = Withdrawn(number=0, version=bad.version, sha256=bad.sha256, base_digest=bad.base_sha256)
        model = file_of(settings.checkpoint_dir, bad.version).read_bytes()

        def alter(now: Control, order: Order) -> Control:
            write_durably(withdrawn_model(settings.state_dir, withdrawn), model, mode=0o600)
            others = tuple(each for each in now.withdrawn if each.version != bad.version)
            numbered = msgspec.structs.replace(withdrawn, number=order.number)
            return msgspec.structs.replace(now, withdrawn=(*others, numbered))

        give(settings, f"rollback of version {bad.version}", reason, alter)
        bad, after = commands.roll_back(settings.checkpoint_dir)
    for problem in after.problems:
        click.echo(problem, err=True)
    stable = after.stable
    went = start_over(settings, stable.version if stable else "base", forget_samples=forget_samples, reason=reason)
    if as_json:
        click.echo(msgspec.json.encode({"withdrawn": bad.version, "stable": stable.version if stable else None}))
        return
    now = f"latest-stable is {stem(stable.version)}" if stable else "no stable checkpoint is left"
    samples = "all samples are forgotten" if forget_samples else "samples are kept: quarantine those that were wrong"
    click.echo(f"{stem(bad.version)} is withdrawn; {now}; training starts over from {went}; {samples}")


def _lift_withdrawal(settings: Settings, version: int, reason: str) -> None:
    def alter(now: Control, _order: Order) -> Control:
        if version not in {each.version for each in now.withdrawn}:
            raise ControlError(f"version {version} is not withdrawn; vmafx-sidecar status lists what is")
        return msgspec.structs.replace(now, withdrawn=tuple(e for e in now.withdrawn if e.version != version))

    give(settings, f"rollback --lift {version}", reason, alter)
    click.echo(f"version {version} and its like may become stable again")
