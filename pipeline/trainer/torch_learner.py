"""The reference learner: any graph, differentiated by torch, stepped by torch.optim, on the processor or on CUDA."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import huber_loss, mse_loss
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from pipeline.model.graph import BaseModel
from pipeline.trainer.learner import ADAM_EPSILON, ADAM_SECOND_DECAY, STATE, LearnerState, StepResult, Vector
from pipeline.trainer.recipe import Recipe
from pipeline.trainer.torch_graph import TorchGraph


class TorchLearner:
    """Trains `base` by `recipe` on `device` ("cpu", "cuda"); see `Learner`."""

    kind = "TorchLearner"

    def __init__(self, base: BaseModel, recipe: Recipe, device: str = "cpu") -> None:
        self.device = device
        self._recipe = recipe
        self._steps = 0
        self._device = torch.device(device)
        if self._device.type == "cuda":
            torch.backends.cudnn.allow_tf32 = False  # ten bits of a product are too few to equal ONNX Runtime
        self._graph = TorchGraph(base, self._device)
        # Weights and gradient are one tensor each, of which the layers' are views: a step then needs few calls.
        self._theta = self._to_device(base.vector())
        self._gradient = torch.zeros_like(self._theta)
        self._weights = {
            name: view.detach().requires_grad_() for name, view in self._graph.tensors(self._theta).items()
        }
        for name, view in self._graph.tensors(self._gradient).items():
            self._weights[name].grad = view
        self._origin = self._theta.clone() if recipe.calibration_rows else torch.zeros_like(self._theta)
        self._scale = torch.ones_like(self._theta)
        self._position, self._ema, self._first, self._second, self._slope, self._per_unit = (
            torch.zeros_like(self._theta) for _ in range(6)
        )
        self._measure()
        self.reset(base.vector())
        self._graph(torch.zeros(2, base.n_features, device=self._device), self._weights)

    @property
    def steps(self) -> int:
        """See `Learner`."""
        return self._steps

    def predict(self, features: NDArray[np.float32], vector: Vector) -> NDArray[np.float32]:
        """See `Learner`."""
        with torch.no_grad():
            scores = self._graph(self._to_device(features), self._graph.tensors(self._to_device(vector)))
        return scores.cpu().numpy()

    def squared_jacobian(self, features: NDArray[np.float32], vector: Vector) -> NDArray[np.float64]:
        """See `Learner`."""
        theta = self._to_device(vector).requires_grad_()
        tensors = self._graph.tensors(theta)
        total = torch.zeros_like(theta, dtype=torch.float64)
        for row in torch.split(self._to_device(features), 1):
            (slope,) = torch.autograd.grad(self._graph(row, tensors).sum(), theta, retain_graph=True)
            total += slope.double() ** 2
        return total.cpu().numpy()

    def step(self, features: NDArray[np.float32], score: NDArray[np.float32]) -> StepResult:
        """See `Learner`."""
        return self._step(self._to_device(features), self._to_device(score))

    def step_through(self, batches: Sequence[tuple[Tensor, Tensor]]) -> list[StepResult]:
        """Take a step on each batch, features float32[n, n_features] and scores float32[n] on the device.

        The device is waited for once, after the last. If a step was not finite then, all are taken again one by one.
        """
        before = [vector.clone() for vector in self._moving()]
        steps = self._steps
        results = [StepResult(loss, norm, applied=True) for loss, norm in self._run(batches).tolist()]
        if all(math.isfinite(result.loss + result.grad_norm) for result in results):
            return results
        for vector, copy in zip(self._moving(), before, strict=True):
            vector.copy_(copy)
        self._steps = steps
        self._place()
        return [self._step(*batch) for batch in batches]

    def _run(self, batches: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """Take a step on each batch, finite or not; return loss and norm of each, float32[n, 2] on the device."""
        figures = []
        for features, score in batches:
            loss = self._differentiate(features, score)
            norm = torch.linalg.vector_norm(self._slope)
            self._slope *= (self._recipe.max_norm / norm).clamp(max=1)
            self._advance()
            figures += [loss, norm]
        return torch.stack(figures).view(-1, 2)

    def _step(self, features: Tensor, score: Tensor) -> StepResult:
        loss = self._differentiate(features, score).item()
        norm = float(torch.linalg.vector_norm(self._slope))
        if not math.isfinite(loss + norm):
            return StepResult(loss, norm, applied=False)
        if norm > self._recipe.max_norm:
            self._slope *= self._recipe.max_norm / norm
        self._advance()
        return StepResult(loss, norm, applied=True)

    def _moving(self) -> tuple[Tensor, ...]:
        return self._position, self._ema, self._first, self._second

    def _advance(self) -> None:
        """Take the step that the slope says."""
        self._steps += 1
        if self._recipe.optimizer == "sgd":
            self._descend()
        else:
            self._descend_by_adam()
        self._ema.lerp_(self._position, 1 - self._recipe.ema_decay_at(self._steps))
        self._place()

    def _differentiate(self, features: Tensor, true: Tensor) -> Tensor:
        """Leave the gradient by the coordinates, per squared unit, in the slope; return the loss in squared points."""
        self._gradient.zero_()
        predicted = self._graph(features, self._weights)
        if self._recipe.robust:
            loss = huber_loss(predicted, true, delta=self._recipe.residual_unit)
        else:
            loss = 0.5 * mse_loss(predicted, true)
        torch.autograd.backward(loss)
        torch.mul(self._gradient, self._per_unit, out=self._slope)
        return loss.detach()

    # The functions behind torch.optim's classes: the classes' own work takes twice as long as these on one tensor.

    def _descend(self) -> None:
        sgd(
            [self._position],
            [self._slope],
            [self._first],
            foreach=False,
            weight_decay=self._recipe.weight_decay_at(self._steps),
            momentum=self._recipe.momentum,
            lr=self._recipe.step_size_at(self._steps),
            dampening=0,
            nesterov=False,
            maximize=False,
        )

    def _descend_by_adam(self) -> None:
        adam(
            [self._position],
            [self._slope],
            [self._first],
            [self._second],
            [],
            [torch.tensor(self._steps - 1.0)],
            foreach=False,
            amsgrad=False,
            beta1=self._recipe.momentum,
            beta2=ADAM_SECOND_DECAY,
            lr=self._recipe.step_size_at(self._steps),
            weight_decay=self._recipe.weight_decay_at(self._steps),
            eps=ADAM_EPSILON,
            maximize=False,
        )

    def weights(self) -> Vector:
        """See `Learner`."""
        return self._theta.cpu().numpy().copy()

    def ema(self) -> Vector:
        """See `Learner`."""
        return (self._origin + self._scale * self._ema).cpu().numpy()

    def reset(self, vector: Vector) -> None:
        """See `Learner`."""
        self._position.copy_((self._to_device(vector) - self._origin) / self._scale)
        self._ema.copy_(self._position)
        self._first.zero_()
        self._second.zero_()
        self._steps = 0
        self._place()

    def state(self) -> LearnerState:
        """See `Learner`."""
        state = {name: getattr(self, "_" + name).cpu().numpy().astype(np.float64) for name in STATE}
        return {**state, "steps": np.array([self._steps], np.float64)}

    def restore(self, state: LearnerState) -> None:
        """See `Learner`."""
        for name in STATE:
            getattr(self, "_" + name).copy_(self._to_device(state[name].astype(np.float32)))
        self._steps = int(state["steps"][0])
        self._measure()
        self._place()

    def _measure(self) -> None:
        """Note by what a gradient by the weights is multiplied to be one by the coordinates, per squared unit."""
        torch.div(self._scale, self._recipe.residual_unit**2, out=self._per_unit)

    def _place(self) -> None:
        """Put the weights where the position of the coordinates is."""
        torch.addcmul(self._origin, self._scale, self._position, out=self._theta)

    def _to_device(self, array: NDArray[np.float32]) -> Tensor:
        """Return `array` on the device; on the processor it is copied only if torch could not be kept from writing."""
        return torch.from_numpy(array if array.flags.writeable else array.copy()).to(self._device)
