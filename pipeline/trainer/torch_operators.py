"""ONNX operators in torch, as opset 17 defines them.

Each takes its inputs (None where an optional one is left out) and its attributes by name, and returns its only output.
Inputs that say a shape are read by Python: `torch_shapes.py` sees to it that they are on the processor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

Operator = Callable[..., Tensor]


def _integers(tensor: Tensor) -> list[int]:
    return [int(value) for value in tensor.flatten().tolist()]


def _gemm(
    a: Tensor,
    b: Tensor,
    c: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,  # noqa: N803  the attribute's name
    transB: int = 0,  # noqa: N803
) -> Tensor:
    a = a.t() if transA else a
    b = b.t() if transB else b
    return alpha * (a @ b) if c is None else torch.addmm(c, a, b, beta=beta, alpha=alpha)


def _reshape(x: Tensor, shape: Tensor, *, allowzero: int = 0) -> Tensor:
    sizes = _integers(shape)
    return x.reshape([x.shape[i] if size == 0 and not allowzero else size for i, size in enumerate(sizes)])


def _flatten(x: Tensor, *, axis: int = 1) -> Tensor:
    rows = 1
    for size in x.shape[: axis + x.dim() if axis < 0 else axis]:
        rows *= size
    return x.reshape(rows, -1)


def _squeeze(x: Tensor, axes: Tensor | None = None) -> Tensor:
    return x.squeeze() if axes is None else x.squeeze(tuple(_integers(axes)))


def _unsqueeze(x: Tensor, axes: Tensor) -> Tensor:
    rank = x.dim() + axes.numel()
    for axis in sorted(value % rank for value in _integers(axes)):
        x = x.unsqueeze(axis)
    return x


def _transpose(x: Tensor, *, perm: Sequence[int] | None = None) -> Tensor:
    return x.permute(*(perm or range(x.dim() - 1, -1, -1)))


def _slice(x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor | None = None, steps: Tensor | None = None) -> Tensor:
    first, last = _integers(starts), _integers(ends)
    dims = range(len(first)) if axes is None else _integers(axes)
    strides = [1] * len(first) if steps is None else _integers(steps)
    for start, end, dim, stride in zip(first, last, dims, strides, strict=True):
        chosen = range(x.shape[dim])[start:end:stride]
        x = x.index_select(dim, torch.arange(len(chosen), device=x.device) * chosen.step + chosen.start)
    return x


def _gather(x: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    axis %= x.dim()
    flat = indices.flatten().long() % x.shape[axis]
    return x.index_select(axis, flat).reshape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])


_TYPES = {1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool, 10: torch.float16, 11: torch.float64}


def _cast(x: Tensor, *, to: int) -> Tensor:
    return x.to(_TYPES[to])


def _shape(x: Tensor, *, start: int = 0, end: int | None = None) -> Tensor:
    return torch.tensor(x.shape[start:end], dtype=torch.int64)


def _expand(x: Tensor, shape: Tensor) -> Tensor:
    sizes = _integers(shape)
    aligned = [1] * (len(sizes) - x.dim()) + list(x.shape)
    sizes = [1] * (len(aligned) - len(sizes)) + sizes
    return x.expand([max(pair) for pair in zip(aligned, sizes, strict=True)])


def _constant_of_shape(shape: Tensor, *, value: Tensor) -> Tensor:
    return value.flatten()[0].expand(_integers(shape))


def _clip(x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    x = x if low is None else torch.maximum(x, low)
    return x if high is None else torch.minimum(x, high)


def _fold(combine: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    def operator(first: Tensor, *others: Tensor) -> Tensor:
        for other in others:
            first = combine(first, other)
        return first

    return operator


def _mean(*inputs: Tensor) -> Tensor:
    return _fold(torch.add)(*inputs) / len(inputs)


def _reduce(function: Callable[..., Tensor]) -> Operator:
    """Make a reduction of one that takes a dimension and keepdim; several dimensions are reduced one by one."""

    def operator(
        x: Tensor,
        axes_input: Tensor | None = None,
        *,
        axes: Sequence[int] | None = None,
        keepdims: int = 1,
        noop_with_empty_axes: int = 0,
    ) -> Tensor:
        dims = list(axes or ()) if axes_input is None else _integers(axes_input)
        if not dims and noop_with_empty_axes:
            return x
        for dim in sorted((dim % x.dim() for dim in dims or range(x.dim())), reverse=True):
            x = function(x, dim, keepdim=bool(keepdims))
        return x

    return operator


def _layer_normalization(
    x: Tensor, scale: Tensor, bias: Tensor | None = None, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Tensor:
    del stash_type  # the precision of the mean, which is float32 here anyway
    shape = x.shape[axis % x.dim() :]
    return functional.layer_norm(x, shape, scale.expand(shape), None if bias is None else bias.expand(shape), epsilon)


def _batch_normalization(
    x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, *, epsilon: float = 1e-5, **_: Any
) -> Tensor:
    return functional.batch_norm(x, mean, variance, scale, bias, training=False, eps=epsilon)


def _conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    strides: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    auto_pad: str = "NOTSET",
) -> Tensor:
    del kernel_shape  # that of the weights
    rank = weight.dim() - 2
    if auto_pad not in ("NOTSET", "VALID"):
        raise RuntimeError(f"auto_pad {auto_pad}")  # told of with the node's name, as what torch itself refuses is
    ends = list(pads or [0] * 2 * rank)
    padding = [side for axis in range(rank - 1, -1, -1) for side in (ends[axis], ends[axis + rank])]
    convolve: Operator = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}[rank]
    return convolve(
        functional.pad(x, padding), weight, bias, tuple(strides or [1] * rank), 0, tuple(dilations or [1] * rank), group
    )


OPERATORS: dict[str, Operator] = {
    "Abs": torch.abs,
    "Add": torch.add,
    "BatchNormalization": _batch_normalization,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": lambda *inputs, axis: torch.cat(inputs, axis),
    "ConstantOfShape": _constant_of_shape,
    "Conv": _conv,
    "Div": torch.div,
    "Dropout": lambda x, *_, **__: x,
    "Elu": lambda x, *, alpha=1.0: functional.elu(x, alpha),
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda x: x.mean(tuple(range(2, x.dim())), keepdim=True),
    "GlobalMaxPool": lambda x: x.amax(tuple(range(2, x.dim())), keepdim=True),
    "HardSigmoid": lambda x, *, alpha=0.2, beta=0.5: torch.clamp(alpha * x + beta, 0, 1),
    "HardSwish": functional.hardswish,
    "Identity": lambda x: x,
    "LayerNormalization": _layer_normalization,
    "LeakyRelu": lambda x, *, alpha=0.01: functional.leaky_relu(x, alpha),
    "Log": torch.log,
    "MatMul": torch.matmul,
    "Max": _fold(torch.maximum),
    "Mean": _mean,
    "Min": _fold(torch.minimum),
    "Mul": torch.mul,
    "Neg": torch.neg,
    "PRelu": lambda x, slope: torch.where(x < 0, slope * x, x),
    "Pow": torch.pow,
    "Reciprocal": torch.reciprocal,
    "ReduceMax": _reduce(torch.amax),
    "ReduceMean": _reduce(torch.mean),
    "ReduceMin": _reduce(torch.amin),
    "ReduceProd": _reduce(torch.prod),
    "ReduceSum": _reduce(torch.sum),
    "Relu": torch.relu,
    "Reshape": _reshape,
    "Selu": lambda x, *, alpha=1.6732632, gamma=1.0507010: gamma * functional.elu(x, alpha),
    "Shape": _shape,
    "Sigmoid": torch.sigmoid,
    "Slice": _slice,
    "Softmax": lambda x, *, axis=-1: torch.softmax(x, axis),
    "Softplus": functional.softplus,
    "Softsign": functional.softsign,
    "Sqrt": torch.sqrt,
    "Squeeze": _squeeze,
    "Sub": torch.sub,
    "Sum": _fold(torch.add),
    "Tanh": torch.tanh,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
