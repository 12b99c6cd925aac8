"""Checkpoint directories as the contract describes them, of models whose score is known."""

import hashlib
import json
from pathlib import Path

import numpy as np

from pipeline.model.default_network import two_layer
from pipeline.model.graph import BaseModel

N_FEATURES = 3


def constant_model(score: float, n_features: int = N_FEATURES) -> bytes:
    """Return a model that gives ``score`` whatever it is asked."""
    base = BaseModel(two_layer(n_features, hidden=1), "constant")
    vector = np.zeros(base.n_parameters)
    vector[-1] = score
    return base.with_weights(vector)


def time_bomb() -> bytes:
    """Return a model that gives 7, but infinity where a feature is greater than 2."""
    base = BaseModel(two_layer(1, hidden=1), "time bomb")
    return base.with_weights([1e20, -2e20, 1e30, 7.0])


def publish(directory: Path, version: int, onnx: bytes, state: str = "stable", digest: str | None = None) -> Path:
    """Put a checkpoint into the directory, the digest first; return its path."""
    path = directory / f"model_v{version:06}.onnx"
    Path(f"{path}.sha256").write_text((digest or hashlib.sha256(onnx).hexdigest()) + "\n")
    path.with_suffix(".json").write_text(json.dumps({"state": state}))
    unfinished = directory / f".{path.name}.tmp"
    unfinished.write_bytes(onnx)
    return unfinished.rename(path)


def link_stable(directory: Path, version: int) -> None:
    """Let ``latest-stable.onnx`` name a version."""
    link = directory / "latest-stable.onnx"
    link.unlink(missing_ok=True)
    link.symlink_to(f"model_v{version:06}.onnx")
