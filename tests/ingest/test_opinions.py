"""Subjective scores on the wire: what is stored of them, and what is refused where they are what is learned."""

import json
from typing import Any

import pytest

from pipeline.ingest.admission import Admission
from pipeline.ingest.dedup import Deduplicator
from pipeline.ingest.opinions import Opinions
from pipeline.shm.ring import Ring


def message(job: str, **fields: Any) -> bytes:
    """Return a line with a true score of 90."""
    return json.dumps({"job_id": job, "features": [1.0, 2.0], "true_score": 90, **fields}).encode() + b"\n"


class Taker:
    """An admission with its ring."""

    def __init__(self, scale: tuple[float, float] | None) -> None:
        self.ring = Ring.private(16, 2)
        opinions = None if scale is None else Opinions(scale)
        self.admission = Admission(self.ring, Deduplicator(16, []), 4096, opinions=opinions)

    def ask(self, *lines: bytes) -> list[dict[str, Any]]:
        """Send lines in one block; return the answers."""
        (answers,) = self.admission.admit([[b"".join(lines)]], b'{"ok":true,"job_id":')
        return [json.loads(line) for line in answers.splitlines()]

    def scores(self) -> list[float]:
        """Return the scores in the ring."""
        return [float(score) for score in self.ring.snapshot()[0].score]


@pytest.mark.parametrize(
    ("scale", "grade", "score"), [((1, 5), 1, 0.0), ((1, 5), 3, 50.0), ((1, 5), 5, 100.0), ((0, 100), 72.5, 72.5)]
)
def test_a_grade_is_stored_as_a_score(scale: tuple[float, float], grade: float, score: float) -> None:
    """By the straight line from the ends of the scale to 0 and 100; the true score is not learned."""
    taker = Taker(scale)
    assert taker.ask(message("a", ground_truth_score=grade)) == [{"ok": True, "job_id": "a"}]
    assert taker.scores() == [score]


def test_a_message_without_a_grade_is_refused_and_counted() -> None:
    """By name, in its place among the answers; what comes with it is stored, and a resend of it is not twice."""
    taker = Taker((1, 5))
    lines = (message("a", ground_truth_score=2), message("b"), message("c", ground_truth_score=None))
    answers = taker.ask(*lines, message("d", ground_truth_score=4))
    assert [answer["ok"] for answer in answers] == [True, False, False, True]
    assert answers[1]["error"] == (
        "ground_truth_score: missing, expected a number from 1 to 5: VMAFX_SIDECAR_TARGET says that it is learned"
    )
    taker.ask(message("a", ground_truth_score=2))
    assert taker.scores() == [25.0, 75.0]
    assert taker.admission.rejected == {"no_ground_truth": 2}
    assert taker.admission.resent == 1


@pytest.mark.parametrize(
    ("grade", "reason", "said"),
    [
        (5.5, "score_out_of_range", "ground_truth_score: expected a number from 1 to 5, not 5.5"),
        (0, "score_out_of_range", "ground_truth_score: expected a number from 1 to 5, not 0"),
        ("good", "wrong_type", "ground_truth_score: expected a number"),
        (True, "wrong_type", "ground_truth_score: expected a number"),
    ],
)
def test_a_grade_that_cannot_be_is_refused(grade: Any, reason: str, said: str) -> None:
    """With the scale that was expected."""
    taker = Taker((1, 5))
    (answer,) = taker.ask(message("a", ground_truth_score=grade))
    assert answer["error"].startswith(said)
    assert taker.admission.rejected == {reason: 1}
    assert taker.scores() == []


@pytest.mark.parametrize("grade", [3, None, "good", [1]])
def test_grades_are_ignored_where_they_are_not_learned(grade: Any) -> None:
    """Whatever a node has always sent there goes on being taken."""
    taker = Taker(None)
    assert taker.ask(message("a", ground_truth_score=grade))[0]["ok"]
    assert taker.scores() == [90.0]
