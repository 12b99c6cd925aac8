"""The reference learner: any graph, differentiated by torch, stepped by torch.optim, on the processor or on CUDA."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import huber_loss, mse_loss

from pipeline.model.graph import BaseModel
from pipeline.trainer.learner import LearnerState, StepResult, Vector
from pipeline.trainer.recipe import Recipe
from pipeline.trainer.torch_graph import TorchGraph


class TorchLearner:
    """Trains `base` by `recipe` on `device` ("cpu", "cuda"); see `Learner`."""

    def __init__(self, base: BaseModel, recipe: Recipe, device: str = "cpu") -> None:
        self._recipe = recipe
        self._device = torch.device(device)
        self._graph = TorchGraph(base, self._device)
        theta = self._to_device(base.vector().copy())
        self._origin = theta.clone() if recipe.calibration_rows else torch.zeros_like(theta)
        self._scale = torch.ones_like(theta)
        # Weights and gradient are one tensor each, of which the layers' are views: a step then needs few calls.
        self._theta, self._gradient = theta, torch.zeros_like(theta)
        self._weights = {name: view.detach().requires_grad_() for name, view in self._graph.tensors(theta).items()}
        for name, view in self._graph.tensors(self._gradient).items():
            self._weights[name].grad = view
        self._position, self._ema = torch.zeros_like(theta), torch.zeros_like(theta)
        self._position.grad = torch.zeros_like(theta)
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
        loss = self._differentiate(features, score)
        gradient = self._position.grad
        assert gradient is not None
        norm = float(torch.linalg.vector_norm(gradient))
        if not math.isfinite(loss + norm):
            return StepResult(loss, norm, applied=False)
        if norm > self._recipe.max_norm:
            gradient *= self._recipe.max_norm / norm
        self._steps += 1
        group = self._optimizer.param_groups[0]
        group["lr"] = self._recipe.step_size_at(self._steps)
        group["weight_decay"] = self._recipe.weight_decay_at(self._steps)
        self._optimizer.step()
        self._ema.lerp_(self._position, 1 - self._recipe.ema_decay_at(self._steps))
        self._place()
        return StepResult(loss, norm, applied=True)

    def _differentiate(self, features: NDArray[np.float32], score: NDArray[np.float32]) -> float:
        """Leave the gradient by the coordinates, per squared unit, on the position; return the squared points' loss."""
        unit = self._recipe.residual_unit
        self._gradient.zero_()
        predicted, true = self._graph(self._to_device(features), self._weights), self._to_device(score)
        loss = huber_loss(predicted, true, delta=unit) if self._recipe.robust else 0.5 * mse_loss(predicted, true)
        torch.autograd.backward(loss)
        torch.mul(self._gradient, self._scale / unit**2, out=self._position.grad)
        return float(loss.detach())

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
        self._steps = 0
        self._new_optimizer()
        self._place()

    def state(self) -> LearnerState:
        """See `Learner`."""
        first, second = self._moments()
        tensors = {
            "origin": self._origin,
            "scale": self._scale,
            "position": self._position,
            "ema": self._ema,
            "first": first,
            "second": second,
        }
        vectors = {name: tensor.cpu().double().numpy().copy() for name, tensor in tensors.items()}
        return {**vectors, "steps": np.array([self._steps], np.float64)}

    def restore(self, state: LearnerState) -> None:
        """See `Learner`."""
        tensors = {name: self._to_device(vector.astype(np.float32)) for name, vector in state.items()}
        self._origin, self._scale, self._ema = tensors["origin"], tensors["scale"], tensors["ema"]
        self._position.copy_(tensors["position"])
        self._steps = int(state["steps"][0])
        self._new_optimizer()
        self._set_moments(tensors["first"], tensors["second"])
        self._place()

    def _place(self) -> None:
        """Put the weights where the position of the coordinates is."""
        torch.addcmul(self._origin, self._scale, self._position, out=self._theta)

    def _new_optimizer(self) -> None:
        recipe = self._recipe
        if recipe.optimizer == "sgd":
            self._optimizer: torch.optim.Optimizer = torch.optim.SGD(
                [self._position], recipe.step_size, momentum=recipe.momentum, weight_decay=recipe.weight_decay
            )
        else:
            self._optimizer = torch.optim.Adam(
                [self._position], recipe.step_size, betas=(recipe.momentum, 0.999), weight_decay=recipe.weight_decay
            )

    def _moments(self) -> tuple[Tensor, Tensor]:
        """Return copies of the optimizer's two moments; zeros before the first step, or where it has none."""
        state = self._optimizer.state.get(self._position, {})
        zeros = torch.zeros_like(self._ema)
        first = state.get("momentum_buffer", state.get("exp_avg"))
        second = state.get("exp_avg_sq")
        return (zeros if first is None else first).clone(), (zeros if second is None else second).clone()

    def _set_moments(self, first: Tensor, second: Tensor) -> None:
        if not self._steps:
            return
        if self._recipe.optimizer == "sgd":
            self._optimizer.state[self._position] = {"momentum_buffer": first}
        else:
            step = torch.tensor(float(self._steps))
            self._optimizer.state[self._position] = {"step": step, "exp_avg": first, "exp_avg_sq": second}

    def _to_device(self, array: NDArray[np.float32]) -> Tensor:
        """Return `array` on the device; on the processor it is not copied."""
        return torch.from_numpy(array).to(self._device)
