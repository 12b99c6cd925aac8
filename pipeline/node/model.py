"""A checkpoint on trial: what must hold before a node predicts with it.

NumPy and ONNX Runtime are imported when a model is loaded, and not before: a node may want to start without waiting.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

from pipeline.model.errors import UnusableModel

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from pipeline.model.runtime import OnnxModel

    Matrix = npt.NDArray[np.float32]
    Vector = npt.NDArray[np.float32]


class Origin(NamedTuple):
    """What a model was loaded from, so that it can be loaded again."""

    name: str
    source: bytes | Path

    def __repr__(self) -> str:
        return f"Origin({self.name!r})"


@dataclass(frozen=True)
class NodeModel:
    """A loaded model."""

    origin: Origin
    session: OnnxModel

    @classmethod
    def load(cls, origin: Origin) -> Self:
        """Open a session of its own; raises `UnusableModel`."""
        from pipeline.model.runtime import OnnxModel

        return cls(origin, OnnxModel(origin.source))

    @property
    def name(self) -> str:
        """The file's name; of the base model, its path."""
        return self.origin.name

    def predict(self, features: Matrix) -> Vector:
        """Return the scores float32[n] of features float32[n, n_features]."""
        return self.session.predict(features)


def admit(path: Path, probe: Matrix) -> NodeModel:
    """Load a published checkpoint that holds what its digest says and scores the probe.

    Raises `UnusableModel` where it must not be used, `OSError` where it cannot be read (now).
    """
    onnx = path.read_bytes()
    expected = path.with_name(f"{path.name}.sha256").read_text(encoding="ascii", errors="replace").strip()
    if hashlib.sha256(onnx).hexdigest() != expected:
        raise UnusableModel(path.name, f"its digest is not {expected!r}, which is what {path.name}.sha256 says")
    model = NodeModel.load(Origin(path.name, onnx))
    if model.session.n_features != probe.shape[1]:
        raise UnusableModel(path.name, f"takes {model.session.n_features} features, expected {probe.shape[1]}")
    if not all_finite(model.predict(probe)):
        raise UnusableModel(path.name, "its scores of the probe are not finite")
    return model


def all_finite(values: Matrix | Vector) -> bool:
    """Tell whether no value is NaN or infinite."""
    import numpy as np

    return bool(np.isfinite(values).all())


def plain_probe(n_features: int) -> Matrix:
    """Return three rows to try a model on: all 0, all 0.5, all 1; float32[3, n_features]."""
    import numpy as np

    return np.array([[0.0], [0.5], [1.0]], np.float32).repeat(n_features, axis=1)
