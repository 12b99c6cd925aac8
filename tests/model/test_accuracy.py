"""The metrics agree with scipy's, ties and all, and say NaN where there is nothing to say."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipeline.model import accuracy

PAIRS = st.integers(2, 60).flatmap(
    lambda n: st.tuples(*(st.lists(st.integers(0, 12), min_size=n, max_size=n) for _ in range(2)))
)


def exists(*sides: list[int]) -> bool:
    """Tell whether a correlation exists: no side is constant."""
    return all(len(set(side)) > 1 for side in sides)


@given(PAIRS)
def test_correlations_agree_with_scipy(pair: tuple[list[int], list[int]]) -> None:
    """PLCC, SROCC and KROCC of short vectors with many ties."""
    x, y = pair
    if not exists(x, y):
        assert all(math.isnan(f(x, y)) for f in (accuracy.plcc, accuracy.srocc, accuracy.krocc))
        return
    assert accuracy.plcc(x, y) == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-12)
    assert accuracy.srocc(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
    assert accuracy.krocc(x, y) == pytest.approx(stats.kendalltau(x, y).statistic, abs=1e-12)


def test_correlations_of_many_rows_agree_with_scipy() -> None:
    """20,000 rows, as many as a corpus has, in float32."""
    rng = np.random.default_rng(0)
    score = rng.uniform(0, 100, 20000).astype(np.float32)
    predicted = (score + rng.normal(0, 10, 20000)).round(1).astype(np.float32)
    assert accuracy.krocc(predicted, score) == pytest.approx(stats.kendalltau(predicted, score).statistic, abs=1e-12)
    assert accuracy.srocc(predicted, score) == pytest.approx(stats.spearmanr(predicted, score).statistic, abs=1e-12)


def test_errors_of_known_vectors() -> None:
    """3 and 4 off: RMSE is 5 over the square root of two, MAE 3.5."""
    assert accuracy.rmse([3, 0], [0, 4]) == pytest.approx(5 / math.sqrt(2))
    assert accuracy.mae([3, 0], [0, 4]) == 3.5


def test_squares_do_not_overflow_in_float32() -> None:
    """Predictions of a model gone bad are still a number."""
    assert accuracy.rmse(np.array([1e30], np.float32), np.array([0], np.float32)) == pytest.approx(1e30)


@pytest.mark.parametrize("metric", [accuracy.rmse, accuracy.mae, accuracy.plcc, accuracy.srocc, accuracy.krocc])
def test_nothing_gives_nan(metric: type) -> None:
    """No rows, no figure; a single row has no correlation."""
    assert math.isnan(metric([], []))
    if metric not in (accuracy.rmse, accuracy.mae):
        assert math.isnan(metric([1.0], [2.0]))


def test_perfect_predictions_have_perfect_figures() -> None:
    """Predicting the score itself gives correlations of 1 and errors of 0; what is not asked for is not computed."""
    score = np.arange(10.0)
    figures = accuracy.agreement(score, score, accuracy.FIGURES)
    assert figures == pytest.approx({"plcc": 1, "srocc": 1, "srocc_under_99": 1, "krocc": 1, "rmse": 0, "mae": 0})
    assert list(accuracy.agreement(score, score)) == ["rmse", "plcc", "srocc"]


@pytest.mark.parametrize(("largest", "points"), [(0.0, 0.001), (-100.0, 0.002), (1e6, 10.001)])
def test_engines_may_differ_in_proportion_to_the_largest_score(largest: float, points: float) -> None:
    """Within scores of VMAF that is a few thousandths of a point."""
    assert accuracy.parity_tolerance(np.array([0.0, largest], np.float32)) == pytest.approx(points)
