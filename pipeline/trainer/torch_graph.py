"""An ONNX graph as a differentiable torch function of its weights."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor

from pipeline.model.graph import BaseModel, UnusableModel
from pipeline.trainer.torch_operators import OPERATORS, Operator
from pipeline.trainer.torch_shapes import wanted

_PROCESSOR = torch.device("cpu")


class _Call(NamedTuple):
    operator: Operator
    inputs: list[str]
    output: str
    node: NodeProto


class TorchGraph:
    """Evaluates `base` on `device` with any weights; raises UnusableModel for an operator that it lacks.

    What only says shapes is computed on the processor: Python reads it, and an evaluation must not wait for the device.
    """

    def __init__(self, base: BaseModel, device: torch.device) -> None:
        self._base = base
        self._device = device
        self._widths = [width for _, width in base.inputs]
        trained = {parameter.name for parameter in base.parameters}
        constants = dict(_constants(base, trained))
        self._wanted = wanted(base.proto.graph.node, constants)
        self._constants: dict[str, Tensor | None] = {"": None, _shape_of(""): None}
        for name, tensor in constants.items():
            self._constants[name] = tensor.to(device)
            self._constants[_shape_of(name)] = tensor
        self._calls = [
            call for node in base.proto.graph.node if node.op_type != "Constant" for call in self._calls_of(node)
        ]

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
            except (TypeError, KeyError, RuntimeError) as error:
                raise self._unusable(call, error) from error
        score = values[self._base.output]
        assert score is not None
        return score if score.dim() == 1 else score.reshape(len(features))

    def _unusable(self, call: _Call, error: Exception) -> UnusableModel:
        reason = f"cannot be trained in this form: {str(error).splitlines()[0]}"
        return UnusableModel(self._base.name, reason, node=_name(call.node), operator=call.node.op_type)

    def _calls_of(self, node: NodeProto) -> Iterable[_Call]:
        """Yield the call that computes `node`, and one that takes a shape to the device where it is wanted there."""
        operator = OPERATORS.get(node.op_type)
        if operator is None or any(node.output[1:]):
            reason = "training through this operator is not supported"
            raise UnusableModel(self._base.name, reason, node=_name(node), operator=node.op_type)
        output, on_processor = node.output[0], node.output[0] in self._wanted.on_processor
        device = _PROCESSOR if on_processor else self._device
        attributes = {attribute.name: _attribute(attribute, device) for attribute in node.attribute}
        if node.op_type == "ConstantOfShape":
            attributes.setdefault("value", torch.zeros(1, device=device))  # ONNX's default, where it is needed
        inputs = [
            _shape_of(name) if shape and name in self._wanted.on_processor else name
            for name, shape in self._wanted.inputs(node)
        ]
        in_memory = on_processor or node.op_type == "Shape"
        yield _Call(partial(operator, **attributes), inputs, _shape_of(output) if in_memory else output, node)
        if in_memory and output in self._wanted.on_device:
            yield _Call(partial(torch.Tensor.to, device=self._device), [_shape_of(output)], output, node)


def _constants(base: BaseModel, trained: set[str]) -> Iterable[tuple[str, Tensor]]:
    """Yield the constants by name, on the processor."""
    for tensor in base.proto.graph.initializer:
        if tensor.name not in trained:
            yield tensor.name, _tensor(tensor)
    for node in base.proto.graph.node:
        if node.op_type == "Constant" and node.output[0] not in trained:
            yield node.output[0], torch.as_tensor(_attribute(node.attribute[0], _PROCESSOR))


def _attribute(attribute: Any, device: torch.device) -> Any:
    value = helper.get_attribute_value(attribute)
    if isinstance(value, TensorProto):
        return _tensor(value).to(device)
    return value.decode() if isinstance(value, bytes) else value


def _tensor(tensor: TensorProto) -> Tensor:
    return torch.from_numpy(np.array(numpy_helper.to_array(tensor)))


def _shape_of(name: str) -> str:
    """Return under what name the processor's copy of a value is kept."""
    return "\0" + name


def _name(node: NodeProto) -> str:
    return node.name or node.output[0]
