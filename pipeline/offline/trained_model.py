"""A finished model: as ONNX, raw features in, score out, the standardisation inside; and on disk.

Beside the ONNX lie its digest and a sidecar that says what it is and how it was made.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

from pipeline.corpus.table import Corpus
from pipeline.model.accuracy import FIGURES, agreement
from pipeline.model.mos import SUBJECTIVE
from pipeline.model.operators import IR_VERSION, OPSET
from pipeline.model.runtime import OnnxModel
from pipeline.offline.evaluated_model import mean_by_clip
from pipeline.offline.fit import Recipe
from pipeline.runtime.durable import write_durably

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Trained:
    """One finished model."""

    seed: int
    left_out: tuple[str, ...]
    committee_rmse: float
    """How far it is from its committee, on rows and mixtures of rows, in points of the score."""
    mean: Array
    std: Array
    model: ModelProto

    def runtime(self) -> OnnxModel:
        """Return the model as its consumers run it."""
        return OnnxModel(self.model.SerializeToString())


@dataclass(frozen=True)
class Origin:
    """What models were made from, and by which command."""

    corpus: Corpus
    corpus_name: str
    target: str
    command: str


def mlp(layers: Sequence[tuple[Array, Array]], mean: Array, std: Array, output: str) -> ModelProto:
    """Build (features - mean) / std, then a Gemm per layer with a Relu between, squeezed to shape (batch,).

    `layers` are weights [in, out] and biases [out]; `mean` and `std` are [in]; `output` names the result.
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
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", len(mean)])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch"])],
        [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in constants.items()],
    )
    opset = helper.make_operatorsetid("", OPSET)
    model = helper.make_model(graph, opset_imports=[opset], producer_name="vmafx-sidecar", ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return model


def write_models(
    directory: Path,
    name: str | None,
    trained: Mapping[str, Sequence[Trained]],
    recipes: Mapping[str, Recipe],
    origin: Origin,
) -> Iterator[Path]:
    """Write each architecture's first model, called `name` or after its architecture; yield the paths."""
    for architecture, (model, *_) in trained.items():
        path = directory / f"{name or architecture}.onnx"
        _write(path, model, _training(model, architecture, recipes[architecture], origin), origin)
        yield path


def _write(path: Path, trained: Trained, training: dict[str, Any], origin: Origin) -> None:
    """Write the `.sha256`, the ONNX and the `.json`, each durably, in this order."""
    data = trained.model.SerializeToString()
    digest = hashlib.sha256(data).hexdigest()
    write_durably(path.with_name(f"{path.name}.sha256"), f"{digest}\n".encode())
    write_durably(path, data)
    sidecar = {
        "id": path.stem,
        "kind": "fr",
        "onnx": path.name,
        "opset": OPSET,
        "sha256": digest,
        "input_name": "features",
        "input_shape": [-1, len(origin.corpus.names)],
        "output_name": trained.model.graph.output[0].name,
        "output_shape": [-1],
        "features": origin.corpus.names,
        "input_mean": trained.mean.tolist(),
        "input_std": trained.std.tolist(),
        "training": training,
        "metrics": _metrics(trained, origin),
    }
    write_durably(path.with_suffix(".json"), msgspec.json.format(msgspec.json.encode(sidecar), indent=2) + b"\n")


def _training(trained: Trained, architecture: str, recipe: Recipe, origin: Origin) -> dict[str, Any]:
    seen = ~origin.corpus.mask_of(trained.left_out) & np.isfinite(origin.corpus.target(origin.target))
    return {
        "command": origin.command,
        "corpus": Path(origin.corpus_name).name,
        "target": origin.target,
        "architecture": architecture,
        "sources": sorted(set(origin.corpus.sources()) - set(trained.left_out)),
        "left_out": trained.left_out,
        "rows": int(seen.sum()),
        "seed": trained.seed,
        "committee_rmse": trained.committee_rmse,
        "recipe": recipe,
    }


def _metrics(trained: Trained, origin: Origin) -> dict[str, Any]:
    """Return how the model does on the sources that it never saw: by frame, or by clip where the score is a clip's."""
    unseen = origin.corpus.rows(origin.corpus.mask_of(trained.left_out)).with_score(origin.target)
    if not len(unseen):
        return {"rows": 0}
    predicted, score = trained.runtime().predict(unseen.features), unseen.target(origin.target)
    if origin.target in SUBJECTIVE:
        predicted, score = (mean_by_clip(values, unseen.clip) for values in (predicted, score))
    return {"rows": len(score), **agreement(predicted, score, FIGURES)}
