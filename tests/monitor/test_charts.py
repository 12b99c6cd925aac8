"""The page's charts, as far as they are arithmetic."""

from pathlib import Path

import pytest

from tests.monitor.javascript import result_of


def with_gaps(tmp_path: Path, times: list[float]) -> list[list[float | None]]:
    """Return what the page draws of one series, whose value is always 1."""
    drawn: list[list[float | None]] = result_of(tmp_path, "charts.js", "withGaps", [times, [1] * len(times)])
    return drawn


@pytest.mark.parametrize(
    "times",
    [
        [],
        [0.0],
        [0.0, 2.0, 4.0, 6.0],
        [0.0, 2.0, 40.0, 42.0],
        [0.0, *(3600.0 + 600 * i for i in range(3)), 5000.0, 5002.0, 5004.0],
    ],
)
def test_a_line_goes_on_where_there_are_measurements(tmp_path: Path, times: list[float]) -> None:
    """Also through a short pause, and from the coarse past into the fine present."""
    assert with_gaps(tmp_path, times) == [times, [1] * len(times)]


def test_downtime_is_a_gap(tmp_path: Path) -> None:
    """An empty point in the middle of an hour without a measurement."""
    times, values = with_gaps(tmp_path, [0, 2, 4, 3604, 3606, 3608])
    assert times == [0, 2, 4, 1804, 3604, 3606, 3608]
    assert values == [1, 1, 1, None, 1, 1, 1]
