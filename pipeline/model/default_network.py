"""The network where no base model is given: Linear(n_features, hidden), ReLU, Linear(hidden, 1), as ONNX."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

from pipeline.model.errors import UnusableModel
from pipeline.model.operators import IR_VERSION, OPSET


def two_layer(n_features: int, hidden: int = 64, seed: int = 0) -> ModelProto:
    """Return the network freshly initialised.

    Weights and biases are uniform within 1/sqrt(fan_in), the initialisation of torch.nn.Linear.
    """
    rng = np.random.default_rng(seed)

    def uniform(fan_in: int, *shape: int) -> npt.NDArray[np.float32]:
        bound = 1 / np.sqrt(fan_in)
        return rng.uniform(-bound, bound, shape).astype(np.float32)

    return _network(
        {
            "0.weight": uniform(n_features, hidden, n_features),
            "0.bias": uniform(n_features, hidden),
            "2.weight": uniform(hidden, 1, hidden),
            "2.bias": uniform(hidden, 1),
        }
    )


def from_state_dict(tensors: Mapping[str, npt.NDArray[np.float32]], name: str = "state dict") -> ModelProto:
    """Return the network with the weights of a PyTorch state dict, whose names are kept.

    Expected are the two `….weight` and two `….bias` tensors of shapes (h, n), (h,), (1, h), (1,), in this order or not;
    anything else raises UnusableModel.
    """
    weights = [key for key, tensor in tensors.items() if key.endswith("weight") and tensor.ndim == 2]
    weights.sort(key=lambda key: tensors[key].shape[0], reverse=True)
    keys = [key for weight in weights for key in (weight, weight.removesuffix("weight") + "bias")]
    shapes = [tensors[key].shape if key in tensors else () for key in keys]
    if len(tensors) != 4 or len(shapes) != 4 or not _chained(*shapes):
        found = ", ".join(f"{key} {list(tensor.shape)}" for key, tensor in tensors.items()) or "nothing"
        raise UnusableModel(
            name, f"found {found}; expected weight (h, n), bias (h,), weight (1, h), bias (1,) of a two-layer network"
        )
    return _network({key: np.asarray(tensors[key], np.float32) for key in keys})


def _chained(
    first: tuple[int, ...], first_bias: tuple[int, ...], last: tuple[int, ...], last_bias: tuple[int, ...]
) -> bool:
    return last == (1, first[0]) and first_bias == first[:1] and last_bias == (1,)


def _network(tensors: Mapping[str, npt.NDArray[np.float32]]) -> ModelProto:
    """Build the graph around four tensors in the order first weight, first bias, last weight, last bias."""
    first, first_bias, last, last_bias = tensors
    n_features = tensors[first].shape[1]
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["features", first, first_bias], ["hidden"], "first", transB=1),
            helper.make_node("Relu", ["hidden"], ["activated"], "relu"),
            helper.make_node("Gemm", ["activated", last, last_bias], ["score"], "last", transB=1),
        ],
        "two_layer",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", n_features])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["batch", 1])],
        [numpy_helper.from_array(tensor, key) for key, tensor in tensors.items()],
    )
    opset = helper.make_operatorsetid("", OPSET)
    model = helper.make_model(graph, opset_imports=[opset], producer_name="vmafx-sidecar", ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return model
