"""What each part of the local correction contributes: the same encodes, with one part left out or changed at a time.

    python -m benchmarks.correction_terms

Needs what correction_real_rows needs, and splits the same encodes in the same way. The fit is computed here in closed
form, which is what the online fit equals. Figures are RMSE in score points on sources left out, codecs and seeds
pooled.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.correction_real_rows import CAPTURES, LEFT_OUT, SEEDS, Encodes, load_encodes

Array = NDArray[np.float64]


class Variant(NamedTuple):
    """Which parts the fit has."""

    predicted: bool = True
    squares: bool = True
    products: bool = True
    clip: bool = True
    ridge: float = 1.0


VARIANTS = {
    "as it is": Variant(),
    "predicted score not a column": Variant(predicted=False),
    "no products of columns": Variant(products=False),
    "no squares, no products": Variant(squares=False, products=False),
    "rows not clipped to the range seen": Variant(clip=False),
    "ridge 0.1": Variant(ridge=0.1),
    "ridge 10": Variant(ridge=10.0),
}


def expand(rows: Array, origin: Array, variant: Variant) -> Array:
    """Deviations from the origin, and the squares and products that the variant has."""
    shifted = rows - origin
    first, second = np.triu_indices(rows.shape[1])
    chosen = np.where(first == second, variant.squares, variant.products)
    return np.column_stack([shifted, (shifted[:, first] * shifted[:, second])[:, chosen]])


def corrections(stream: Array, residuals: Array, judged: Array, variant: Variant) -> Array:
    """Fit ridge regression on standardised terms, and return the corrections of the rows to judge by."""
    if variant.clip:
        judged = np.clip(judged, stream.min(0), stream.max(0))
    terms = expand(stream, stream[0], variant)
    mean, scale = terms.mean(0), np.where(terms.std(0) > 0, terms.std(0), 1.0)
    standardised = (terms - mean) / scale
    gram = standardised.T @ standardised + variant.ridge * np.eye(terms.shape[1])
    weights = np.linalg.solve(gram, standardised.T @ residuals) / scale
    constant = residuals.sum() / (len(residuals) + variant.ridge)
    return np.asarray(constant + (expand(judged, stream[0], variant) - mean) @ weights)


def pooled_rmse(encodes: Encodes, target: str, variant: Variant) -> list[float]:
    """RMSE after each number of CAPTURES."""
    columns = [encodes.features, encodes.crf, encodes.predicted]
    rows = np.column_stack(columns if variant.predicted else columns[:-1])
    observed = encodes.targets[target]
    squares: list[list[float]] = []
    for seed in SEEDS:
        for codec in np.unique(encodes.codec):
            rng = np.random.default_rng(seed)
            left_out = np.isin(encodes.source, rng.choice(np.unique(encodes.source), LEFT_OUT, replace=False))
            mine = encodes.codec == codec
            stream, judged = rng.permutation(np.flatnonzero(mine & ~left_out)), np.flatnonzero(mine & left_out)
            squares.append([])
            for n in CAPTURES:
                learned = stream[:n]
                residuals = observed[learned] - encodes.predicted[learned]
                added = corrections(rows[learned], residuals, rows[judged], variant)
                error = np.clip(encodes.predicted[judged] + added, 0, 100) - observed[judged]
                squares[-1].append(float(np.mean(error**2)))
    return [float(value) for value in np.sqrt(np.mean(squares, axis=0))]


def main() -> None:
    """Print the table."""
    encodes = load_encodes()
    print(f"{'target':<12}{'':<36}" + "".join(f"{n:>8}" for n in CAPTURES) + "  captures")
    for target in encodes.targets:
        for name, variant in VARIANTS.items():
            errors = pooled_rmse(encodes, target, variant)
            print(f"{target:<12}{name:<36}" + "".join(f"{error:>8.2f}" for error in errors))


if __name__ == "__main__":
    main()
