"""The correction of one predictor version and codec: a model, its columns, its recent outcomes."""

from collections import deque
from collections.abc import Iterable

from pipeline.correction.captures import (
    Corrected,
    Observation,
    Outcome,
    Query,
    columns,
    correct,
    named,
    score,
)
from pipeline.correction.model import CorrectionModel, Settings

HISTORY = 500
"""Outcomes kept, the newest; the fit itself has learned from all of them."""


class Correction:
    """What has been learned so far; it has one owner and does no input or output.

    Attributes:
        features: names of the features in column order, fixed by the first capture; empty before it.
        model: None before the first capture.
        history: the newest outcomes, oldest first.

    """

    def __init__(
        self,
        settings: Settings,
        features: tuple[str, ...] = (),
        model: CorrectionModel | None = None,
        history: Iterable[Outcome] = (),
    ) -> None:
        self.settings = settings
        self.features = features
        self.model = model
        self.history = deque(history, maxlen=HISTORY)

    @property
    def captures(self) -> int:
        """Number of captures learned."""
        return self.model.captures if self.model else 0

    def apply(self, query: Query) -> Corrected:
        """Correct a prediction; before the first capture the correction is exactly 0.0.

        Raises:
            CorrectionError: a value that is not finite or too large, or other features than those learned from.

        """
        row = columns(query, self.features or tuple(named(query.features)))
        return correct(query.predicted, self.model.correction(row) if self.model else 0.0)

    def record(self, observation: Observation) -> Outcome:
        """Learn from a capture, after having corrected its prediction without it.

        Raises:
            CorrectionError: as `apply`, or an observed score outside 0 to 100; nothing is learned then.

        """
        observed = score("observed", observation.observed)
        features = self.features or tuple(named(observation.features))
        row = columns(observation, features)
        model = self.model or CorrectionModel(len(row), self.settings)
        before = correct(observation.predicted, model.correction(row))
        model.update(row, observed - observation.predicted)
        self.features, self.model = features, model
        outcome = Outcome(before.predicted, before.correction, before.corrected, observed)
        self.history.append(outcome)
        return outcome
