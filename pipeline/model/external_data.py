"""Reading weights that lie outside the ONNX file, without letting the file choose what is read.

An ONNX tensor may name a file, an offset and a length. The name comes from the model, so it is not trusted: it has
to stay inside the model's own directory, also after symbolic links, and the length has to be that of the tensor. Many
tensors may name the same bytes, so what they come to is bounded before any is read.
"""

import math
import os
from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto, helper

from pipeline.model.errors import UnusableModel


def inline_external_data(model: ModelProto, name: str, directory: Path | None) -> None:
    """Move every external tensor into the model, in place; `directory` None means that there may be none."""
    _check_total(model, name)
    for tensor in model_tensors(model):
        if tensor.data_location == TensorProto.EXTERNAL:
            tensor.raw_data = _read(tensor, name, directory)
            tensor.ClearField("external_data")
            tensor.ClearField("data_location")


def model_tensors(model: ModelProto) -> list[TensorProto]:
    """Return every tensor stored in the graph: initializers and tensor attributes of nodes."""
    attributes = (attribute for node in model.graph.node for attribute in node.attribute)
    return [*model.graph.initializer, *(a.t for a in attributes if a.HasField("t"))]


def _read(tensor: TensorProto, name: str, directory: Path | None) -> bytes:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    path = _inside(entries.get("location", ""), tensor.name, name, directory)
    offset, length = _extent(entries, tensor, name)
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(length)
    except OSError as error:
        raise UnusableModel(name, f"weights file {path.name} cannot be read: {error.strerror}") from error
    if len(data) != length:
        raise UnusableModel(
            name, f"weights file {path.name} ends before tensor {tensor.name!r}, {offset + length} bytes expected"
        )
    return data


def _inside(location: str, tensor: str, name: str, directory: Path | None) -> Path:
    if directory is None:
        raise UnusableModel(name, f"tensor {tensor!r} is kept outside the model; expected one self-contained file")
    root = Path(os.path.realpath(directory))
    path = Path(os.path.realpath(root / location))  # which links in circles pass
    if not location or Path(location).is_absolute() or not path.is_relative_to(root):
        raise UnusableModel(name, f"tensor {tensor!r} refers to {location!r}; expected a file in the model's directory")
    if not path.is_file():
        raise UnusableModel(name, f"weights file {location!r} of tensor {tensor!r} is missing beside the model")
    return path


def _extent(entries: dict[str, str], tensor: TensorProto, name: str) -> tuple[int, int]:
    expected = _n_bytes(tensor, name)
    try:
        offset, length = int(entries.get("offset", "0")), int(entries.get("length", str(expected)))
    except ValueError:
        raise UnusableModel(name, f"offset and length of tensor {tensor.name!r} are not integers") from None
    if offset < 0 or length != expected:
        raise UnusableModel(
            name, f"tensor {tensor.name!r}: {length} bytes at offset {offset} in its file, {expected} bytes expected"
        )
    return offset, length


MAX_BYTES = 64 << 20
"""Of all tensors together. Tiny models have kilobytes: beyond this a shape is taken for a mistake, before any memory is
asked for."""


def _check_total(model: ModelProto, name: str) -> None:
    """Refuse a model whose tensors, inside and outside the file, come to more than `MAX_BYTES`."""
    tensors = model_tensors(model)
    total = sum(t.ByteSize() if t.data_location != TensorProto.EXTERNAL else _n_bytes(t, name) for t in tensors)
    if total > MAX_BYTES:
        reason = f"its {len(tensors)} tensors come to {total:,} bytes; at most {MAX_BYTES >> 20} MiB expected"
        raise UnusableModel(name, reason)


def _n_bytes(tensor: TensorProto, name: str) -> int:
    try:
        item = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type)).itemsize
    except KeyError:
        raise UnusableModel(name, f"tensor {tensor.name!r} has the unknown type {tensor.data_type}") from None
    if any(dimension < 0 for dimension in tensor.dims):
        raise UnusableModel(name, f"tensor {tensor.name!r} has the shape {list(tensor.dims)}")
    return int(item * math.prod(tensor.dims))
