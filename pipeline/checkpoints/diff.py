"""How far the weights of two checkpoints lie apart."""

from pathlib import Path

import msgspec
import numpy as np

from pipeline.checkpoints.checkpoint import CheckpointError
from pipeline.checkpoints.names import file_of, stem
from pipeline.model.graph import BaseModel, parse_base_model


class Change(msgspec.Struct, frozen=True):
    """One trained tensor: its norm in the first checkpoint, and that of the difference to the second."""

    name: str
    shape: tuple[int, ...]
    norm: float
    moved: float


def changes(directory: Path, one: int, other: int) -> list[Change]:
    """Compare the trained tensors of two versions. Raises CheckpointError where they are not of the same graph."""
    first, second = (_load(directory, version) for version in (one, other))
    if first.parameters != second.parameters:
        raise CheckpointError(f"{stem(one)} and {stem(other)} have different weights: their base models differ")
    before, after = first.vector().astype(float), second.vector().astype(float)
    slices = [(each, slice(each.offset, each.offset + each.size)) for each in first.parameters]
    return [
        Change(
            each.name, each.shape, float(np.linalg.norm(before[part])), float(np.linalg.norm((after - before)[part]))
        )
        for each, part in slices
    ]


def _load(directory: Path, version: int) -> BaseModel:
    path = file_of(directory, version)
    try:
        return parse_base_model(path.read_bytes(), path.name)
    except FileNotFoundError:
        raise CheckpointError(f"{directory}: {stem(version)} is not published") from None
