"""What the user can mend, told in one line."""

from collections.abc import Iterator
from contextlib import contextmanager

import click


@contextmanager
def in_one_line(*kinds: type[Exception]) -> Iterator[None]:
    """Turn errors of these kinds, and those of the operating system, into a line on standard error and exit code 1.

    The message of one of `kinds` is taken as it is. Commands that import such a kind only when they run, so that
    `--help` is fast, do so just before.
    """
    told: tuple[type[Exception], ...] = (*kinds, OSError)
    try:
        yield
    except told as error:
        raise click.ClickException(_line(error)) from error


def _line(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)
