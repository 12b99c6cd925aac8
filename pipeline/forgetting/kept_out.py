"""What keeps samples that were forgotten from coming back: rules for ingest, among the orders."""

from __future__ import annotations

import time

import click
import msgspec

from pipeline.config import Settings
from pipeline.console.mistakes import in_one_line
from pipeline.console.orders import give, name_hash
from pipeline.forgetting.selection import Selection
from pipeline.runtime import control
from pipeline.runtime.control import Control, ControlError, Forgotten, Order


def keep_out(settings: Settings, selection: Selection) -> None:
    """Leave a rule for ingest, which reads it at its next start; the orders name nobody."""
    rule = selection.tombstone(time.time())
    give(settings, f"forget {_options(selection)}", "", lambda now, _: now.with_forgotten(rule))


def let_in(settings: Settings, selection: Selection) -> None:
    """End the rule on these names, each given as it is or as `show` has it."""
    given = {kind: name_hash(name) for kind, name in msgspec.structs.asdict(selection).items() if name is not None}

    def alter(now: Control, _order: Order) -> Control:
        return now.without_forgotten(Forgotten(**given))

    give(settings, f"forget --lift {_options(selection)}", "", alter)
    click.echo("such samples are taken again")


def show(settings: Settings) -> None:
    """Print each rule on a line."""
    with in_one_line(ControlError):
        rules = control.read(settings.state_dir).control.forgotten
    for rule in rules:
        click.echo(control.describe_forgotten(rule))
    if not rules:
        click.echo("nothing is kept out")


def _options(selection: Selection) -> str:
    return " ".join(f"--{name}" for name, value in msgspec.structs.asdict(selection).items() if value is not None)
