"""Runs a model as its consumers do: ONNX Runtime, CPU."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from pipeline.model.errors import UnusableModel
from pipeline.model.features import Features, features_of

_ERROR = 3  # severity from which ONNX Runtime logs


def taken_by(path: Path) -> Features:
    """Return what the model at `path` takes; raises UnusableModel."""
    return features_of(path, OnnxModel(path).inputs)


class OnnxModel:
    """An ONNX Runtime session that takes flat feature vectors and gives flat scores.

    The `inputs`, (name, width) in graph order, are slices of the feature vector; a model whose batch is fixed at 1 is
    run row by row.
    One thread: these models are too small for two, and the node needs the others.
    """

    def __init__(self, model: bytes | str | Path) -> None:
        """Load a model from its bytes or its path; raises UnusableModel where ONNX Runtime refuses it."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = _ERROR
        source = model if isinstance(model, bytes) else str(model)
        self._name = name = "model" if isinstance(model, bytes) else Path(model).name
        try:
            self._session = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's own errors share no other base class
            raise UnusableModel(name, f"ONNX Runtime refuses it: {str(error).splitlines()[0]}") from None
        inputs = self._session.get_inputs()
        if any(len(value.shape) != 2 or not isinstance(value.shape[1], int) for value in inputs):
            shapes = ", ".join(f"{value.name} {value.shape}" for value in inputs)
            raise UnusableModel(name, f"inputs {shapes}; expected (batch, n_features)")
        self.inputs: tuple[tuple[str, int], ...] = tuple((value.name, value.shape[1]) for value in inputs)
        self._bounds = np.cumsum([value.shape[1] for value in inputs])
        self._one_by_one = any(value.shape[0] == 1 for value in inputs)

    def __repr__(self) -> str:
        return f"OnnxModel({self._name!r}, {self.n_features} features)"

    @property
    def n_features(self) -> int:
        """Length of a flat feature vector."""
        return int(self._bounds[-1])

    @property
    def fixed_batch(self) -> bool:
        """Whether the model declares a batch of exactly one row."""
        return self._one_by_one

    def predict(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the scores float32[n] of features float32[n, n_features]."""
        if self._one_by_one and len(features) != 1:
            rows = [self._run(features[i : i + 1]) for i in range(len(features))]
            return np.concatenate(rows) if rows else np.empty(0, np.float32)
        return self._run(features)

    def _run(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        parts = np.split(features, self._bounds[:-1], axis=1)
        feed = {name: np.ascontiguousarray(part) for (name, _), part in zip(self.inputs, parts, strict=True)}
        output: npt.NDArray[np.float32] = self._session.run(None, feed)[0]
        return output.reshape(len(features))
