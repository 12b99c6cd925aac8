"""Which operators and which opset a published model may use."""

import onnx
from onnx import NodeProto

from pipeline.model.errors import UnusableModel

OPSET = 17
"""The opset of every published model."""

IR_VERSION = 8
"""Of the ONNX files that are made here: the one that opset 17 came with, so every reader of opset 17 takes it."""

ALLOWED = frozenset(
    """
    Identity Reshape Flatten Squeeze Unsqueeze Transpose Concat Slice Gather Cast Shape Expand
    Add Sub Mul Div Neg Abs Sqrt Pow Exp Log Clip Min Max Sum Mean ReduceMean ReduceSum ReduceMax ReduceMin
    GlobalAveragePool GlobalMaxPool Gemm MatMul Conv ConvTranspose MaxPool AveragePool Resize BatchNormalization
    LayerNormalization InstanceNormalization Relu LeakyRelu Sigmoid Tanh Softmax Elu Selu Softplus Softsign Gelu Erf
    HardSigmoid HardSwish PRelu Dropout QuantizeLinear DequantizeLinear Constant ConstantOfShape Pad Reciprocal
    ReduceProd GatherND ScatterND BitShift Loop If
    """.split()  # noqa: SIM905 - the list as it is documented, one line for ten
)
"""The allow-list of libvmaf's loader: it refuses a file with any other operator."""


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of the default operator set that the model imports; 0 where it imports none."""
    return next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)


def check_allowed(model: onnx.ModelProto, name: str) -> None:
    """Raise UnusableModel at the first operator that libvmaf would refuse."""
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx") or node.op_type not in ALLOWED:
            operator = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
            raise UnusableModel(
                name, "not among the operators that libvmaf loads", node=node_name(node), operator=operator
            )


def to_opset_17(model: onnx.ModelProto, name: str) -> None:
    """Relabel, in place, a model of another opset that means the same under opset 17.

    It does when each of its operators has the same definition in both. One that has not makes the model unusable:
    rewriting a graph would give the consumer another one than the operator's base model.
    """
    version = opset_of(model)
    if version == OPSET:
        return
    for node in model.graph.node:
        if not _same_definition(node.op_type, version):
            raise UnusableModel(
                name,
                f"opset {version}, in which this operator differs from opset {OPSET}; "
                f"expected a model exported with opset {OPSET}",
                node=node_name(node),
                operator=node.op_type,
            )
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx"):
            entry.version = OPSET


def node_name(node: NodeProto) -> str:
    """Return what to call a node in a message: its name, or else its first output."""
    return node.name or (node.output[0] if node.output else "?")


def _same_definition(operator: str, version: int) -> bool:
    try:
        theirs = onnx.defs.get_schema(operator, version)
        ours = onnx.defs.get_schema(operator, OPSET)
    except onnx.defs.SchemaError:
        return False
    return bool(theirs.since_version == ours.since_version)
