"""Test, then train: how well several models predicted the newest samples before any of them was trained on these."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.model.accuracy import agreement


class Prequential:
    """A window over the newest `size` samples: their scores, and what each of the named models predicted."""

    def __init__(self, models: tuple[str, ...], size: int) -> None:
        self._models = models
        self.window: NDArray[np.float32] = np.full((len(models) + 1, size), np.nan, np.float32)
        self.count = 0

    def add(self, score: NDArray[np.float32], predictions: dict[str, NDArray[np.float32]]) -> None:
        """Add scores float32[n] and, by model, predictions float32[n]; a model that is missing predicted nothing."""
        size = self.window.shape[1]
        places = np.arange(self.count, self.count + len(score)) % size
        self.window[0, places] = score
        for row, model in enumerate(self._models, start=1):
            self.window[row, places] = predictions.get(model, np.nan)
        self.count += len(score)

    def figures(self) -> dict[str, dict[str, float]]:
        """Return `agreement` of each model on the samples that it predicted."""
        score = self.window[0]
        return {
            model: agreement(row[~np.isnan(row)], score[~np.isnan(row)])
            for model, row in zip(self._models, self.window[1:], strict=True)
        }

    def newest_errors(self, model: str, count: int) -> NDArray[np.float32]:
        """Return the absolute errors of a model on the newest samples, `count` or as many as there are."""
        size = self.window.shape[1]
        places = np.arange(self.count - min(count, self.count, size), self.count) % size
        errors: NDArray[np.float32] = np.abs(
            self.window[1 + self._models.index(model), places] - self.window[0, places]
        )
        return errors[np.isfinite(errors)]

    def forget(self) -> None:
        """Begin anew."""
        self.window[:], self.count = np.nan, 0

    def restore(self, window: NDArray[np.float32], count: int) -> None:
        """Continue from a saved window, flat; one of another size is forgotten."""
        if window.size == self.window.size:
            self.window[:], self.count = window.reshape(self.window.shape), count
