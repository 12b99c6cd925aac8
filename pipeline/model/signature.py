"""What a model takes and gives: float32 inputs of shape (batch, width), one output of shape (batch,) or (batch, 1)."""

from onnx import ModelProto, TensorProto, ValueInfoProto

from pipeline.model.errors import UnusableModel


def input_widths(proto: ModelProto, name: str) -> tuple[tuple[str, int], ...]:
    """Return (name, width) of each input in graph order; raises UnusableModel."""
    constants = {tensor.name for tensor in proto.graph.initializer}
    inputs = [value for value in proto.graph.input if value.name not in constants]
    for value in inputs:
        shape = _shape(value)
        if not _is_float32(value) or shape is None or len(shape) != 2 or shape[1] < 1:
            raise UnusableModel(
                name, f"input {value.name!r} is {_describe(value)}; expected float32 of shape (batch, n_features)"
            )
    if not inputs:
        raise UnusableModel(name, "it has no input")
    return tuple((value.name, value.type.tensor_type.shape.dim[1].dim_value) for value in inputs)


def output_name(proto: ModelProto, name: str) -> str:
    """Return the name of the only output; raises UnusableModel."""
    if len(proto.graph.output) != 1:
        names = ", ".join(repr(value.name) for value in proto.graph.output)
        raise UnusableModel(name, f"{len(proto.graph.output)} outputs ({names}); expected one, the score")
    value = proto.graph.output[0]
    shape = _shape(value)
    if not _is_float32(value) or (shape is not None and (len(shape) not in (1, 2) or shape[1:] not in ([], [1]))):
        raise UnusableModel(
            name, f"output {value.name!r} is {_describe(value)}; expected float32 of shape (batch,) or (batch, 1)"
        )
    return str(value.name)


def _is_float32(value: ValueInfoProto) -> bool:
    return bool(value.type.tensor_type.elem_type == TensorProto.FLOAT)


def _shape(value: ValueInfoProto) -> list[int] | None:
    """Return the declared shape, 0 for a dimension that is left open, or None where none is declared."""
    tensor = value.type.tensor_type
    return [dim.dim_value for dim in tensor.shape.dim] if tensor.HasField("shape") else None


def _describe(value: ValueInfoProto) -> str:
    kind = TensorProto.DataType.Name(value.type.tensor_type.elem_type).lower()
    dims = value.type.tensor_type.shape.dim
    shape = ", ".join(dim.dim_param or str(dim.dim_value or "?") for dim in dims)
    return f"{kind} of shape ({shape})"
