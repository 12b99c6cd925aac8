"""What goes in and comes out: a prediction to correct, an encode to learn from, and what became of it."""

import re
from collections.abc import Collection, Mapping
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

Features: TypeAlias = Mapping[str, float] | Collection[float]
"""Named values in any order, or plain values (a list, an array) in a fixed order."""

MAX_SCORE = 100.0

LARGEST = 1e15
"""Magnitude up to which numbers are taken: below it, products of two columns can be squared and summed without end."""

_FEATURE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")


class CorrectionError(ValueError):
    """An input that is refused; the message names the field and what was expected of it."""


class Query(msgspec.Struct, frozen=True):
    """One prediction to correct: the features and the CRF it was made from, and its score, 0 to 100."""

    features: dict[str, float] | list[float]
    crf: float
    predicted: float


class Observation(Query, frozen=True):
    """A prediction together with the score that was measured once the encode was done, 0 to 100."""

    observed: float


class Corrected(msgspec.Struct, frozen=True):
    """A prediction, the correction learned for it, and their sum clipped to 0 to 100."""

    predicted: float
    correction: float
    corrected: float


class Outcome(Corrected, frozen=True):
    """One learned capture: the score as it was corrected before the capture was learned, and as observed."""

    observed: float


def correct(predicted: float, correction: float) -> Corrected:
    """Add the correction and clip to the range of scores; a correction of 0.0 changes no bit in range."""
    return Corrected(predicted, correction, min(max(predicted + correction, 0.0), MAX_SCORE))


def named(features: Features) -> dict[str, float]:
    """Give plain values the names f0, f1, …, and check names and values.

    Raises:
        CorrectionError: no features, a name that is not a short plain word, a value that `number` refuses.

    """
    values = dict(features) if isinstance(features, Mapping) else {f"f{i}": v for i, v in enumerate(features)}
    if not values:
        raise CorrectionError("features: at least one value is expected")
    for name, value in values.items():
        if not _FEATURE_NAME.fullmatch(name):
            raise CorrectionError(f"features: {name[:80]!r} is not a name of up to 40 letters, digits and _")
        number(f"features: {name}", value)
    return values


def number(field: str, value: float) -> float:
    """Return the value.

    Raises:
        CorrectionError: it is NaN, infinite or beyond `LARGEST` either way.

    """
    if not abs(value) <= LARGEST:
        raise CorrectionError(f"{field} is {value}, a number of at most {LARGEST:g} either way is expected")
    return value


def score(field: str, value: float) -> float:
    """Return the value.

    Raises:
        CorrectionError: it is not a score of 0 to 100.

    """
    if not 0.0 <= value <= MAX_SCORE:
        raise CorrectionError(f"{field} is {value}, a score of 0 to 100 is expected")
    return value


def columns(query: Query, names: tuple[str, ...]) -> NDArray[np.float64]:
    """Lay a query out as one row: the named features in that order, the CRF, the predicted score.

    Raises:
        CorrectionError: a value that `number` refuses, or other features than these names.

    """
    values = named(query.features)
    if values.keys() != set(names):
        raise CorrectionError(f"features: {', '.join(names)} are expected, as recorded so far; got {', '.join(values)}")
    crf, predicted = number("crf", query.crf), number("predicted", query.predicted)
    return np.array([*(values[name] for name in names), crf, predicted], dtype=np.float64)
