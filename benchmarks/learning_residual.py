"""The base model as the rivals see it: its scores, its network, and features as it standardises them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.learning_streams import Floats, base_model
from pipeline.trainer.mlp import BoundMlp
from pipeline.trainer.mlp_graph import plain_mlp


class Residual:
    """What a rival needs to learn the residual of the base model on standardised features; `mlp` is its network."""

    def __init__(self) -> None:
        base = base_model()
        mlp = plain_mlp(base)
        assert mlp is not None
        assert mlp.shift is not None
        assert mlp.gain is not None
        self.mlp = mlp
        self._base = BoundMlp(mlp, base.vector())
        self._shift, self._gain = mlp.shift, mlp.gain

    def base(self, features: Floats) -> Floats:
        """Return the base model's scores."""
        return self._base.forward(features)

    def standard(self, features: Floats) -> Floats:
        """Return the features as the base model standardises them."""
        return (features - self._shift) * self._gain

    def quadratic(self, features: Floats) -> NDArray[np.float64]:
        """Return one, the standardised features and their products of two, float64[n, 28]."""
        x = self.standard(features).astype(np.float64)
        left, right = np.triu_indices(x.shape[1])
        return np.column_stack([np.ones(len(x)), x, x[:, left] * x[:, right]])
