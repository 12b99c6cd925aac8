"""The verdict on the recent captures."""

import pytest

from pipeline.correction.captures import Outcome
from pipeline.correction.correction import Correction
from pipeline.correction.drift import WINDOW, judge
from pipeline.correction.model import Settings
from tests.correction.encodes import encodes


def outcomes(n: int, before: float, after: float) -> list[Outcome]:
    """Outcomes that were off by `before` and, corrected, by `after`, to either side in turn."""
    sign = [1 if i % 2 else -1 for i in range(n)]
    return [Outcome(50.0 - s * before, 0.0, 50.0 - s * after, 50.0) for s in sign]


@pytest.mark.parametrize(
    ("before", "after", "level", "words"),
    [
        (5.0, 1.0, "ok", None),
        (5.0, 2.99, "ok", None),
        (5.0, 3.01, "warning", "Retrain the predictor"),
        (9.0, 6.01, "critical", "Do not rely on it"),
        (1.0, 1.4, "ok", None),
        (1.0, 1.6, "warning", "Move the state file away"),
        (5.0, 7.0, "warning", "Move the state file away"),
    ],
)
def test_thresholds(before: float, after: float, level: str, words: str | None) -> None:
    """Each level begins at its threshold, and every level but ok says what to do."""
    verdict = judge(outcomes(WINDOW, before, after))
    assert verdict.level == level
    assert [verdict.rms_before, verdict.rms_after] == pytest.approx([before, after])
    assert (words is None) == (verdict.advice is None)
    assert words is None or words in str(verdict.advice)


def test_fewer_captures_than_the_window_are_not_judged() -> None:
    """The first captures are always off: nothing was learned yet."""
    assert judge([]).rms_after is None
    assert judge(outcomes(WINDOW - 1, 90.0, 90.0)).level == "learning"


def test_only_the_newest_captures_count() -> None:
    """An old bad stretch is forgiven once 50 good captures follow it."""
    history = outcomes(200, 40.0, 40.0) + outcomes(WINDOW, 5.0, 1.0)
    assert judge(history).level == "ok"


def test_a_changed_predictor_raises_the_alarm_and_a_fit_one_does_not() -> None:
    """100 steady captures are ok; then the truth begins to jump about, and within a window a warning stands."""
    correction = Correction(Settings())
    for capture in encodes(100, bias=5.0, noise=0.5):
        correction.record(capture)
    assert judge(correction.history).level == "ok"
    for capture in encodes(WINDOW, bias=0.0, noise=4.0, seed=1):
        correction.record(capture)
    assert judge(correction.history).level in {"warning", "critical"}
