"""An ONNX graph as a differentiable torch function of its weights."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor

from pipeline.model.graph import BaseModel, UnusableModel
from pipeline.trainer.torch_operators import OPERATORS, Operator


class _Call(NamedTuple):
    operator: Operator
    inputs: list[str]
    output: str
    node: NodeProto


class TorchGraph:
    """Evaluates `base` on `device` with any weights; raises UnusableModel for an operator that it lacks."""

    def __init__(self, base: BaseModel, device: torch.device) -> None:
        self._base = base
        self._device = device
        self._widths = [width for _, width in base.inputs]
        trained = {parameter.name for parameter in base.parameters}
        self._constants: dict[str, Tensor | None] = {"": None}
        for tensor in base.proto.graph.initializer:
            if tensor.name not in trained:
                self._constants[tensor.name] = self._tensor(tensor)
        self._calls = [self._call(node) for node in base.proto.graph.node if not self._is_constant(node, trained)]

    def tensors(self, vector: Tensor) -> dict[str, Tensor]:
        """Return the trained tensors by name, as views of `vector` float32[n_parameters]."""
        return {
            parameter.name: vector[parameter.offset : parameter.offset + parameter.size].view(parameter.shape)
            for parameter in self._base.parameters
        }

    def __call__(self, features: Tensor, tensors: dict[str, Tensor]) -> Tensor:
        """Return the scores float32[n] of features float32[n, n_features] with the trained `tensors`."""
        values = {**self._constants, **tensors}
        if len(self._widths) == 1:
            values[self._base.inputs[0][0]] = features
        else:
            for (name, _), part in zip(self._base.inputs, torch.split(features, self._widths, dim=1), strict=True):
                values[name] = part
        for call in self._calls:
            try:
                values[call.output] = call.operator(*[values[name] for name in call.inputs])
            except (TypeError, NotImplementedError, KeyError, RuntimeError) as error:
                raise self._unusable(call, error) from error
        score = values[self._base.output]
        assert score is not None
        return score if score.dim() == 1 else score.reshape(len(features))

    def _unusable(self, call: _Call, error: Exception) -> UnusableModel:
        reason = f"cannot be trained in this form: {str(error).splitlines()[0]}"
        return UnusableModel(self._base.name, reason, node=_name(call.node), operator=call.node.op_type)

    def _call(self, node: NodeProto) -> _Call:
        operator = OPERATORS.get(node.op_type)
        if operator is None or any(node.output[1:]):
            reason = "training through this operator is not supported"
            raise UnusableModel(self._base.name, reason, node=_name(node), operator=node.op_type)
        attributes = {attribute.name: self._attribute(attribute) for attribute in node.attribute}
        return _Call(partial(operator, **attributes), list(node.input), node.output[0], node)

    def _attribute(self, attribute: Any) -> Any:
        value = helper.get_attribute_value(attribute)
        if isinstance(value, TensorProto):
            return self._tensor(value)
        return value.decode() if isinstance(value, bytes) else value

    def _is_constant(self, node: NodeProto, trained: set[str]) -> bool:
        """Tell whether `node` is a constant, and keep its value unless it is trained."""
        if node.op_type != "Constant":
            return False
        if node.output[0] not in trained:
            value = self._attribute(node.attribute[0])
            self._constants[node.output[0]] = torch.as_tensor(value, device=self._device)
        return True

    def _tensor(self, tensor: TensorProto) -> Tensor:
        return torch.from_numpy(np.array(numpy_helper.to_array(tensor))).to(self._device)


def _name(node: NodeProto) -> str:
    return node.name or node.output[0]
