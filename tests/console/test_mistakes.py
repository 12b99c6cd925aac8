"""What is wrong with the input is one line, and what is wrong with the program is not hidden."""

from pathlib import Path

import click
import pytest

from pipeline.console.mistakes import in_one_line


class Unusable(Exception):
    """An error that a command expects."""


def test_an_expected_error_is_its_own_message() -> None:
    """The command ends as click ends it: the message alone, no traceback."""
    with pytest.raises(click.ClickException, match=r"^no such source$"), in_one_line(Unusable, KeyError):
        raise Unusable("no such source")


def test_an_error_of_the_system_names_the_file(tmp_path: Path) -> None:
    """Without a number of the error; one that has no file says what it has."""
    missing = tmp_path / "missing"
    with pytest.raises(click.ClickException) as named, in_one_line():
        missing.read_bytes()
    assert named.value.message == f"{missing}: No such file or directory"
    with pytest.raises(click.ClickException, match=r"^in use for over 5 s$"), in_one_line():
        raise TimeoutError("in use for over 5 s")


def test_any_other_error_is_left_alone() -> None:
    """A fault of the program keeps its traceback."""
    with pytest.raises(ZeroDivisionError), in_one_line(Unusable):
        _ = 1 / 0
