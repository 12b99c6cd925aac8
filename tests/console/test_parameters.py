"""Values that several commands take."""

import time
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from pipeline.console.parameters import moment


@click.command()
@click.option("--at", callback=moment)
def _ask(at: float | None) -> None:
    click.echo(at)


@pytest.fixture
def _far_west(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "HST10")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("_far_west")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2026-11-22", "1795305600.0"),
        ("2026-11-22T01:00", "1795309200.0"),
        ("2026-11-22T01:00:00Z", "1795309200.0"),
        ("2026-11-22T01:00:00+01:00", "1795305600.0"),
    ],
)
def test_a_time_is_of_the_zone_that_it_names_or_of_utc(text: str, said: str) -> None:
    """As logs and status have it, wherever the machine is."""
    assert CliRunner().invoke(_ask, ["--at", text]).output.strip() == said


@pytest.mark.parametrize("text", ["yesterday", "12:00", "2026-13-01", ""])
def test_what_is_no_time_is_named(text: str) -> None:
    """With what was expected."""
    done = CliRunner().invoke(_ask, ["--at", text])
    assert done.exit_code == 2
    assert "expected a day or a time such as" in done.output
