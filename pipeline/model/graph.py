"""A base model: an ONNX graph with its weights as one flat vector, and back to the same graph with other weights."""

import hashlib
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import ModelProto, TensorProto

from pipeline.model.errors import UnusableModel
from pipeline.model.external_data import inline_external_data
from pipeline.model.operators import check_allowed, node_name, to_opset_17
from pipeline.model.signature import input_widths, output_name
from pipeline.model.trainable import trained_tensors

__all__ = ["BaseModel", "Parameter", "UnusableModel", "load_base_model", "parse_base_model"]

_TARGET = "vmafx_sidecar_target"

MAX_BYTES = 64 << 20
"""Largest model file that is read. The tiny models have 2 to 40 kB."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One trained tensor: `size` consecutive elements of the flat vector from `offset` on, in C order."""

    name: str
    shape: tuple[int, ...]
    offset: int
    size: int


class BaseModel:
    """A usable base model. Nothing here changes after construction.

    name          what messages call it
    serialized    the self-contained ONNX file: weights inline, opset 17
    proto         the same, parsed
    digest        SHA-256 of `serialized`, hexadecimal
    inputs        (name, width) of each input, in graph order; a flat feature vector is their concatenation
    output        name of the only output
    parameters    the trained tensors, in graph order
    """

    def __init__(self, proto: ModelProto, name: str) -> None:
        """Take over a self-contained `proto`; raises UnusableModel."""
        self.name = name
        self.inputs = input_widths(proto, name)
        self.output = output_name(proto, name)
        tensors = trained_tensors(proto, name)
        self.parameters = _layout(tensors)
        self.proto = proto
        self.serialized: bytes = proto.SerializeToString(deterministic=True)
        self.digest = hashlib.sha256(self.serialized).hexdigest()
        self._vector = np.concatenate([np.frombuffer(tensor.raw_data, "<f4") for tensor in tensors.values()])
        if not np.isfinite(self._vector).all():
            raise UnusableModel(name, "its weights are not all finite")
        self._scratch = ModelProto.FromString(self.serialized)
        self._targets = list(trained_tensors(self._scratch, name).values())

    def __repr__(self) -> str:
        return f"BaseModel({self.name!r}, {self.n_features} features, {self.n_parameters} parameters)"

    @property
    def n_features(self) -> int:
        """Length of a flat feature vector."""
        return sum(width for _, width in self.inputs)

    @property
    def n_parameters(self) -> int:
        """Length of the flat weight vector."""
        return int(self._vector.size)

    def vector(self) -> npt.NDArray[np.float32]:
        """Return a copy of the base model's own weights, float32[n_parameters]."""
        return self._vector.copy()

    def aimed_at(self, target: str) -> Self:
        """Return the same graph and weights with a note of what they learn: another base model, by its digest."""
        proto = ModelProto.FromString(self.serialized)
        proto.metadata_props.add(key=_TARGET, value=target)
        return type(self)(proto, self.name)

    def with_weights(self, vector: npt.ArrayLike) -> bytes:
        """Return the ONNX file with these weights, float32[n_parameters]; all other bytes are those of `serialized`."""
        flat = np.asarray(vector, dtype="<f4")
        if flat.shape != (self.n_parameters,):
            raise ValueError(f"weights of shape {flat.shape}, ({self.n_parameters},) expected")
        for parameter, tensor in zip(self.parameters, self._targets, strict=True):
            tensor.raw_data = flat[parameter.offset : parameter.offset + parameter.size].tobytes()
        return bytes(self._scratch.SerializeToString(deterministic=True))


def load_base_model(path: str | Path) -> BaseModel:
    """Read a base model and the weights it keeps in files beside it.

    Raises UnusableModel when it cannot be fine-tuned, OSError when it cannot be read.
    """
    path = Path(path)
    if path.stat().st_size > MAX_BYTES:
        raise UnusableModel(path.name, f"{path.stat().st_size} bytes; at most {MAX_BYTES >> 20} MiB expected")
    return _parse(path.read_bytes(), path.name, path.parent)


def parse_base_model(data: bytes, name: str) -> BaseModel:
    """Make a base model of a self-contained ONNX file's bytes; raises UnusableModel."""
    return _parse(data, name, None)


def _parse(data: bytes, name: str, directory: Path | None) -> BaseModel:
    try:
        proto = ModelProto.FromString(data)
    except DecodeError:
        raise UnusableModel(name, "not an ONNX file") from None
    _check_flat(proto, name)
    inline_external_data(proto, name, directory)
    check_allowed(proto, name)
    to_opset_17(proto, name)
    try:
        onnx.checker.check_model(proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise UnusableModel(name, f"not a valid ONNX model: {str(error).splitlines()[0]}") from None
    return BaseModel(proto, name)


def _check_flat(proto: ModelProto, name: str) -> None:
    """Refuse what has no flat float32 graph: subgraphs, functions, sparse or quantised weights."""
    if not proto.graph.node:
        raise UnusableModel(name, "not an ONNX model: it has no graph")
    if proto.functions or proto.graph.sparse_initializer:
        raise UnusableModel(name, "model functions or sparse weights; expected a flat graph with dense weights")
    for node in proto.graph.node:
        if re.search("quantize|Integer|QLinear", node.op_type, re.IGNORECASE):
            reason = "a quantised model cannot be fine-tuned; expected the float32 model it was made from"
            raise UnusableModel(name, reason, node=node_name(node), operator=node.op_type)
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            reason = "control flow cannot be fine-tuned; expected a feed-forward graph"
            raise UnusableModel(name, reason, node=node_name(node), operator=node.op_type)


def _layout(tensors: dict[str, TensorProto]) -> tuple[Parameter, ...]:
    parameters: list[Parameter] = []
    offset = 0
    for key, tensor in tensors.items():
        parameters.append(Parameter(key, tuple(tensor.dims), offset, math.prod(tensor.dims)))
        offset += parameters[-1].size
    return tuple(parameters)
