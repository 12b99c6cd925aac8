"""The online fit against the batch fit, and what it refuses."""

import numpy as np
import pytest

from pipeline.correction.captures import CorrectionError
from pipeline.correction.model import WIDEST_QUADRATIC, CorrectionModel, Settings
from tests.correction.reference import Array, batch_ridge, expand


def raw_rows(n_rows: int, n_columns: int, seed: int = 0) -> tuple[Array, Array]:
    """Correlated columns whose scales span 1e-2 to 1e5 and whose means lie far from zero; their residuals."""
    rng = np.random.default_rng(seed)
    scales = np.logspace(-2, 5, n_columns)
    rows = rng.normal(size=(n_rows, n_columns)) + 0.9 * rng.normal(size=(n_rows, 1))
    residuals = 5.0 + rows[:, 0] - 2 * rows[:, 1] ** 2 + rng.normal(size=n_rows)
    return (rows + rng.uniform(3, 30, n_columns)) * scales, residuals


def learn(rows: Array, residuals: Array, settings: Settings) -> CorrectionModel:
    """Return a model that has learned these rows in order."""
    model = CorrectionModel(rows.shape[1], settings)
    for row, residual in zip(rows, residuals, strict=True):
        model.update(row, residual)
    return model


def assert_equals_batch(model: CorrectionModel, rows: Array, residuals: Array) -> None:
    """Compare in units that mean something: score points for one standard deviation of a term, and corrections."""
    settings = model.settings
    w0, weights = batch_ridge(
        rows, residuals, quadratic=settings.quadratic, ridge=settings.ridge, forgetting=settings.forgetting
    )
    terms = expand(rows, settings.quadratic)
    constant, learned = model.solution()
    assert constant == pytest.approx(w0, abs=1e-8)
    np.testing.assert_allclose(learned * terms.std(0), weights * terms.std(0), atol=1e-8, rtol=0)
    ages = np.arange(len(rows) - 1, -1, -1.0)
    mean = np.average(terms, axis=0, weights=settings.forgetting**ages)
    expected = w0 + (terms[-50:] - mean) @ weights
    np.testing.assert_allclose([model.correction(row) for row in rows[-50:]], expected, atol=1e-8, rtol=0)


@pytest.mark.parametrize("quadratic", [False, True])
def test_equals_the_batch_solution_after_1e5_updates(quadratic: bool) -> None:
    """Rounding does not add up: after 100,000 rank-1 updates of badly scaled rows, 1e-8 still holds."""
    rows, residuals = raw_rows(100_000, 8)
    model = learn(rows, residuals, Settings(quadratic=quadratic))
    assert model.captures == 100_000
    assert_equals_batch(model, rows, residuals)


@pytest.mark.parametrize("n_rows", [1, 2, 3, 10, 500])
@pytest.mark.parametrize("ridge", [1e-3, 1.0, 100.0])
def test_equals_the_batch_solution_after_any_number_of_updates(n_rows: int, ridge: float) -> None:
    """Also with fewer rows than terms, where only the penalty makes the solution unique."""
    rows, residuals = raw_rows(n_rows, 6, seed=n_rows)
    model = learn(rows, residuals, Settings(ridge=ridge))
    assert_equals_batch(model, rows, residuals)


@pytest.mark.parametrize("forgetting", [0.9, 0.999])
def test_forgetting_equals_the_weighted_batch_solution(forgetting: float) -> None:
    """The forgetting factor is an exponential weight on the rows, in the moments and in the fit."""
    rows, residuals = raw_rows(3000, 5)
    assert_equals_batch(learn(rows, residuals, Settings(forgetting=forgetting)), rows, residuals)


def test_forgetting_follows_a_change() -> None:
    """After the bias turns from +5 to -5 a forgetting model has turned too, a remembering one is half way."""
    rows, _ = raw_rows(400, 4)
    residuals = np.where(np.arange(400) < 200, 5.0, -5.0)
    forgetful = learn(rows, residuals, Settings(forgetting=0.95)).correction(rows[0])
    remembering = learn(rows, residuals, Settings()).correction(rows[0])
    assert forgetful == pytest.approx(-5.0, abs=0.5)
    assert remembering == pytest.approx(0.0, abs=3.0)


def test_the_order_of_rows_does_not_matter_to_a_linear_fit() -> None:
    """Captures of several encodes may arrive in any order."""
    rows, residuals = raw_rows(300, 5)
    order = np.random.default_rng(1).permutation(300)
    settings = Settings(quadratic=False)
    one, other = learn(rows, residuals, settings), learn(rows[order], residuals[order], settings)
    assert one.correction(rows[7]) == pytest.approx(other.correction(rows[7]), abs=1e-10)


def test_a_constant_column_and_a_copied_column_do_no_harm() -> None:
    """A column that never varies gets no weight, and two equal columns share theirs, without a singular matrix."""
    rows, residuals = raw_rows(200, 3)
    rows = np.column_stack([rows, np.full(200, 0.1), rows[:, 0]])
    model = learn(rows, residuals, Settings(quadratic=False))
    weights = model.solution()[1]
    assert weights[3] == 0.0
    assert weights[4] == pytest.approx(weights[0])


def test_beyond_the_rows_seen_the_correction_stays_at_its_edge() -> None:
    """A row far outside is corrected like the nearest one inside, not by an extrapolated parabola."""
    rows = np.linspace(20.0, 40.0, 50)[:, None]
    model = learn(rows, (rows[:, 0] - 30.0) ** 2 / 10, Settings())
    assert model.correction(np.array([400.0])) == model.correction(np.array([40.0]))
    assert model.correction(np.array([-400.0])) == model.correction(np.array([20.0]))


def test_wide_rows_stay_linear() -> None:
    """80 features would be thousands of products; they get none, and the fit is the linear one."""
    rows, residuals = raw_rows(120, WIDEST_QUADRATIC + 1)
    model = learn(rows, residuals, Settings(quadratic=True))
    assert len(model.solution()[1]) == WIDEST_QUADRATIC + 1
    same = learn(rows, residuals, Settings(quadratic=False))
    assert model.correction(rows[3]) == same.correction(rows[3])


@pytest.mark.parametrize(
    ("row", "residual"),
    [
        ([1.0, np.nan], 1.0),
        ([np.inf, 1.0], 1.0),
        ([1.0, 2.0], np.nan),
        ([1.0, 2.0], -np.inf),
        ([1.0, 1e300], 1.0),
        ([1.0], 1.0),
        ([1.0, 2.0, 3.0], 1.0),
    ],
)
def test_refused_updates_change_nothing(row: list[float], residual: float) -> None:
    """Non-finite input, input too large to be squared, and rows of another length leave the fit as it was."""
    rows, residuals = raw_rows(30, 2)
    model = learn(rows, residuals, Settings())
    before = model.fit(), model.correction(rows[0])
    with pytest.raises(CorrectionError):
        model.update(np.array(row), residual)
    assert (model.fit(), model.correction(rows[0])) == before


def test_a_refused_first_update_leaves_a_cold_model() -> None:
    """A model that has only ever refused still adds exactly 0.0."""
    model = CorrectionModel(2)
    for refused in (np.nan, 1e300):
        with pytest.raises(CorrectionError, match="value 1 of the row is"):
            model.update(np.array([1.0, refused]), 1.0)
    assert model.captures == 0
    assert model.correction(np.array([1.0, 2.0])) == 0.0


@pytest.mark.parametrize("settings", [{"ridge": 0.0}, {"ridge": np.nan}, {"forgetting": 0.0}, {"forgetting": 1.5}])
def test_settings_without_a_fit_are_refused(settings: dict[str, float]) -> None:
    """The message names the setting and what it must be."""
    with pytest.raises(CorrectionError, match=f"{next(iter(settings))} is .* expected"):
        Settings(**settings)  # type: ignore[arg-type]
