"""Values that several commands take, checked where they are given."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from pipeline.config import is_utf8
from pipeline.node.policy import Policy


def text(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """Return what is to be stored, hashed or reported: it has to be UTF-8."""
    if value is not None and not is_utf8(value):
        raise click.BadParameter(f"{value!r}: expected text in UTF-8")
    return value


def name(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Return a name: text that is not empty."""
    if value == "":
        raise click.BadParameter("expected a name: it is empty")
    return text(context, parameter, value)


def moment(_context: click.Context, _parameter: click.Parameter, value: str | None) -> float | None:
    """Return a day or a time, in UTC where it names no zone, in Unix seconds; None where none is given."""
    if value is None:
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter("expected a day or a time such as 2026-11-22 or 2026-11-22T14:00:00Z") from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def policy(_context: click.Context, _parameter: click.Parameter, text: str) -> str:
    """Return a selection policy as it was given."""
    try:
        Policy.parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return text
