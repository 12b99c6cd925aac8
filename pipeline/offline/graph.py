"""A trained network as ONNX: raw features in, score out, the standardisation inside."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

from pipeline.corpus.table import FEATURES
from pipeline.model.operators import IR_VERSION, OPSET

Array = npt.NDArray[np.float32]


def mlp(layers: Sequence[tuple[Array, Array]], mean: Array, std: Array, output: str) -> ModelProto:
    """Build (features - mean) / std, then a Gemm per layer with a Relu between, squeezed to shape (batch,).

    `layers` are weights [in, out] and biases [out]; `mean` and `std` are [6]; `output` names the result.
    """
    nodes = [
        helper.make_node("Sub", ["features", "mean"], ["centred"], "centre"),
        helper.make_node("Div", ["centred", "std"], ["standardised"], "standardise"),
    ]
    constants = {"mean": mean, "std": std, "last_axis": np.array([1], np.int64)}
    value = "standardised"
    for i, (weight, bias) in enumerate(layers):
        constants |= {f"layer{i}.weight": weight, f"layer{i}.bias": bias}
        nodes.append(helper.make_node("Gemm", [value, f"layer{i}.weight", f"layer{i}.bias"], [f"layer{i}"], f"gemm{i}"))
        value = f"layer{i}"
        if i < len(layers) - 1:
            nodes.append(helper.make_node("Relu", [value], [f"active{i}"], f"relu{i}"))
            value = f"active{i}"
    nodes.append(helper.make_node("Squeeze", [value, "last_axis"], [output], "squeeze"))
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", len(FEATURES)])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch"])],
        [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in constants.items()],
    )
    opset = helper.make_operatorsetid("", OPSET)
    model = helper.make_model(graph, opset_imports=[opset], producer_name="vmafx-sidecar", ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return model
