"""The parts of the demo, each alone: the judge, the display, the verdict, the plot."""

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from pipeline.corpus.read import load_corpus
from pipeline.data import BASE_MODEL, CORPUS
from pipeline.demo.display import Display, Moment
from pipeline.demo.judge import Judge, Judged, failure, plot, table
from pipeline.model.runtime import OnnxModel
from tests.support.node_checkpoints import constant_model, publish

GOOD = {"rmse": 1.0, "plcc": 0.99, "srocc": 0.98, "srocc_under_99": 0.97}
BAD = {"rmse": 9.0, "plcc": 0.5, "srocc": 0.4, "srocc_under_99": 0.3}


class Oracle:
    """Gives the true scores, plus a constant."""

    def __init__(self, scores: np.ndarray, offset: float = 0.0) -> None:
        self._scores = scores + np.float32(offset)

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return the scores, whatever is asked."""
        assert len(features) == len(self._scores)
        return self._scores


def test_the_judge_tells_good_from_bad() -> None:
    """A model that knows the scores has no error; one that is off by three has an RMSE of three."""
    rows = load_corpus(CORPUS).only("judge")
    judge = Judge(rows, "vmaf_phone")
    scores = rows.target("vmaf_phone")
    perfect = judge.figures(Oracle(scores))
    assert perfect == pytest.approx({"rmse": 0.0, "plcc": 1.0, "srocc": 1.0, "srocc_under_99": 1.0})
    assert judge.figures(Oracle(scores, 3.0))["rmse"] == pytest.approx(3.0, abs=1e-5)
    assert judge.figures(OnnxModel(BASE_MODEL))["rmse"] > 5.0


def moment(elapsed: float) -> Moment:
    """Return a moment of a run."""
    return Moment(elapsed, 50.0, 12_345, 6_789, 2, "model_v000002.onnx", GOOD["rmse"], BAD["rmse"])


def test_without_a_terminal_there_is_a_line_now_and_then() -> None:
    """Lines are plain, at most one in five seconds, and hold samples, step, model and both errors."""
    output = io.StringIO()
    with Display(Console(file=output, width=200)) as display:
        for tenth in range(120):
            display.show(moment(tenth / 10))
    lines = output.getvalue().splitlines()
    assert len(lines) == 3
    for figure in ("12,345", "6,789", "model_v000002.onnx", "1.00 (base 9.00)"):
        assert figure in lines[-1]


def test_on_a_terminal_there_is_a_panel() -> None:
    """The panel holds the same figures, and lines that stay are printed above it."""
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=120)
    with Display(console) as display:
        display.show(moment(10.0))
        display.say("the node swapped")
    for figure in ("12,345", "6,789", "model_v000002.onnx", "9.00", "the node swapped"):
        assert figure in output.getvalue()


@pytest.fixture
def last(tmp_path: Path) -> Path:
    """Publish a checkpoint that verifies."""
    return publish(tmp_path, 2, constant_model(50.0))


def test_a_better_checkpoint_that_verifies_is_a_success(last: Path) -> None:
    """Only the last checkpoint counts, not the ones on the way."""
    assert failure([Judged(BASE_MODEL, BAD), Judged(last, BAD), Judged(last, GOOD)]) == ""


@pytest.mark.parametrize("rmse", [BAD["rmse"], 9.5, float("nan")])
def test_no_better_is_a_failure_with_figures(last: Path, rmse: float) -> None:
    """A last checkpoint that is as bad, worse or without an error at all fails the demo, and the reason says so."""
    reason = failure([Judged(BASE_MODEL, BAD), Judged(last, GOOD), Judged(last, GOOD | {"rmse": rmse})])
    assert reason.startswith("model_v000002.onnx is not better than the base model: RMSE ")
    assert reason.endswith("not under 9.00")


def test_no_checkpoint_is_a_failure() -> None:
    """Without any checkpoint there is nothing to show."""
    assert failure([Judged(BASE_MODEL, BAD)]) == "no checkpoint was published"


def test_a_checkpoint_that_does_not_verify_is_a_failure(last: Path) -> None:
    """However good its figures are, a file that is not what its digest says fails the demo."""
    Path(f"{last}.sha256").write_text("0" * 64 + "\n")
    assert failure([Judged(BASE_MODEL, BAD), Judged(last, GOOD)]).startswith(
        "model_v000002.onnx does not verify: digest:"
    )


def test_the_table_has_a_row_for_each_model(last: Path) -> None:
    """Base model and checkpoint are there with their figures."""
    output = io.StringIO()
    judged = [Judged(BASE_MODEL, BAD), Judged(last, GOOD, "stable", 400, 3000, 9.5)]
    Console(file=output, width=120).print(table(judged, "vmaf_phone"))
    for figure in (
        "vmaf_phone",
        "base_model",
        "9.00",
        "0.5000",
        "0.4000",
        "model_v000002",
        "stable",
        "3,000",
        "0.9900",
        "SROCC under 99",
        "0.9700",
    ):
        assert figure in output.getvalue()


def test_the_plot_is_a_picture(last: Path, tmp_path: Path) -> None:
    """A PNG is written, and it is not blank."""
    from matplotlib.image import imread

    judged = [Judged(BASE_MODEL, BAD), Judged(last, GOOD, seconds=10.0), Judged(last, GOOD, seconds=20.0)]
    plot(judged, "vmaf_phone", tmp_path / "demo.png")
    pixels = imread(tmp_path / "demo.png")
    assert pixels.shape[0] > 200
    assert pixels.shape[1] > 600
    assert np.ptp(pixels[..., :3]) > 0.5
