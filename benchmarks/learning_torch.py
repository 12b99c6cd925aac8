"""Fine-tuning as one would write it in torch: Adam on the weights as they are, rows replayed from all of the past.

The target is divided by 100 and the factor folded into the last layer; Huber's loss turns linear at three points; four
steps for sixteen new rows, of 64 rows each; the EMA's decay rises to 0.99.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.learning_residual import Residual
from benchmarks.learning_streams import Floats, base_model
from pipeline.trainer.mlp import Mlp

_POINTS = 100.0
_THRESHOLD = 3.0 / _POINTS
_STEP_SIZE, _WARMUP_STEPS = 1e-3, 200
_STEPS, _REPLAYED = 4, 48
_EMA_DECAY = 0.99
_MOST_ROWS = 100_000


class TorchAdam:
    """The base model's network on torch, which keeps every row."""

    def __init__(self, seed: int) -> None:
        base = base_model()
        self._residual = Residual()
        self._network = _network(self._residual.mlp, base.vector())
        self._average = _network(self._residual.mlp, base.vector())
        self._optimizer = torch.optim.Adam(self._network.parameters(), _STEP_SIZE)
        self._draws = torch.Generator().manual_seed(seed)
        self._rows, self._steps = 0, 0
        self._features = torch.zeros(_MOST_ROWS, base.n_features)
        self._score = torch.zeros(_MOST_ROWS)

    def learn(self, features: Floats, score: Floats, group: list[int]) -> None:
        """Take four steps on the new rows and as many old ones as fit."""
        del group
        first, self._rows = self._rows, self._rows + len(score)
        self._features[first : self._rows] = self._standard(features)
        self._score[first : self._rows] = torch.from_numpy(score / np.float32(_POINTS))
        new = torch.arange(first, self._rows)
        for _ in range(_STEPS):
            self._step(torch.cat([new, torch.randint(self._rows, (_REPLAYED,), generator=self._draws)]))

    def _step(self, chosen: torch.Tensor) -> None:
        self._steps += 1
        for group in self._optimizer.param_groups:
            group["lr"] = _STEP_SIZE * min(1.0, self._steps / _WARMUP_STEPS)
        self._optimizer.zero_grad()
        predicted = self._network(self._features[chosen]).squeeze(-1)
        torch.autograd.backward(nn.functional.huber_loss(predicted, self._score[chosen], delta=_THRESHOLD))
        nn.utils.clip_grad_norm_(self._network.parameters(), 1.0)
        self._optimizer.step()
        share = 1 - min(_EMA_DECAY, (1 + self._steps) / (10 + self._steps))
        with torch.no_grad():
            for mean, parameter in zip(self._average.parameters(), self._network.parameters(), strict=True):
                mean.lerp_(parameter, share)

    def predict(self, features: Floats) -> NDArray[np.floating]:
        """Predict scores with the EMA."""
        with torch.no_grad():
            predicted: NDArray[np.float32] = self._average(self._standard(features)).squeeze(-1).numpy()
        return _POINTS * predicted

    def _standard(self, features: Floats) -> torch.Tensor:
        return torch.from_numpy(self._residual.standard(features))


def _network(mlp: Mlp, vector: Floats) -> nn.Sequential:
    """Return a network of ReLUs with these weights, whose output is the score divided by 100."""
    modules: list[nn.Module] = []
    last = len(mlp.layers) - 1
    for index, layer in enumerate(mlp.layers):
        factor = np.float32(1 / _POINTS if index == last else 1)
        weight, bias = layer.views(vector)
        assert bias is not None
        dense = nn.Linear(weight.shape[1], weight.shape[0])
        dense.load_state_dict({"weight": torch.from_numpy(weight * factor), "bias": torch.from_numpy(bias * factor)})
        modules += [dense, nn.ReLU()]
    return nn.Sequential(*modules[:-1])
