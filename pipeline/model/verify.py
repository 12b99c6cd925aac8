"""Checks that a published file keeps what its readers are promised: digest, opset, operators, a run in ONNX Runtime."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import ModelProto, TensorProto

from pipeline.model.errors import UnusableModel
from pipeline.model.external_data import model_tensors
from pipeline.model.operators import OPSET, check_allowed, opset_of

_BATCHES = (1, 3)


@dataclass(frozen=True, slots=True)
class Check:
    """One promise: its name, whether it holds, and the figures or the reason."""

    name: str
    passed: bool
    detail: str


def verify(path: Path) -> list[Check]:
    """Check the ONNX file at `path` against its digest file and its promises; stop at the first that is broken.

    Raises OSError when the file cannot be read.
    """
    file = _File(path)
    promises: dict[str, Callable[[], str]] = {
        "digest": file.digest,
        "graph": file.graph,
        "single file": file.single_file,
        "opset": file.opset,
        "operators": file.operators,
        "run": file.run,
    }
    checks: list[Check] = []
    for name, holds in promises.items():
        try:
            checks.append(Check(name, True, holds()))
        except UnusableModel as error:
            return [*checks, Check(name, False, error.reason if not error.node else str(error))]
    return checks


class _File:
    """The file's bytes, read once, and what has to hold of them: each check returns figures or raises UnusableModel."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._data = path.read_bytes()

    @cached_property
    def _proto(self) -> ModelProto:
        try:
            proto: ModelProto = ModelProto.FromString(self._data)
        except DecodeError:
            raise self._broken("not an ONNX file") from None
        return proto

    def digest(self) -> str:
        twin = Path(f"{self._path}.sha256")
        try:
            text = twin.read_bytes()
        except OSError as error:
            raise self._broken(f"{twin.name}: {error.strerror}") from None
        found = hashlib.sha256(self._data).hexdigest()
        if text != f"{found}\n".encode():
            expected = text.decode("ascii", "backslashreplace").strip()[:80]
            raise self._broken(f"{twin.name} says {expected!r}, the file's SHA-256 is {found}")
        return found

    def graph(self) -> str:
        try:
            onnx.checker.check_model(self._proto, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            raise self._broken(str(error).splitlines()[0]) from None
        return f"{len(self._proto.graph.node)} nodes"

    def single_file(self) -> str:
        outside = [t.name for t in model_tensors(self._proto) if t.data_location == TensorProto.EXTERNAL]
        if outside:
            raise self._broken(f"tensor {outside[0]!r} is kept outside the file")
        return f"{len(self._data):,} bytes"

    def opset(self) -> str:
        if opset_of(self._proto) != OPSET:
            raise self._broken(f"opset {opset_of(self._proto)}, expected {OPSET}")
        return str(OPSET)

    def operators(self) -> str:
        check_allowed(self._proto, self._path.name)
        return ", ".join(sorted({node.op_type for node in self._proto.graph.node}))

    def run(self) -> str:
        from pipeline.model.runtime import OnnxModel

        model = OnnxModel(self._data)
        rng = np.random.default_rng(0)
        for batch in _BATCHES:
            scores = model.predict(rng.random((batch, model.n_features), np.float32))
            if not np.isfinite(scores).all():
                raise self._broken(f"a batch of {batch} gives {scores.tolist()}, expected finite scores")
        batches = "1 only, as its inputs declare" if model.fixed_batch else " and ".join(map(str, _BATCHES))
        return f"{model.n_features} features, finite at batch {batches}"

    def _broken(self, reason: str) -> UnusableModel:
        return UnusableModel(self._path.name, reason)
