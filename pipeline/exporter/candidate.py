"""A candidate: the base model's graph with the trainer's EMA weights, proven to say what the trainer says."""

from dataclasses import dataclass, field

import numpy as np
import onnx

from pipeline.model.accuracy import parity_tolerance
from pipeline.model.graph import BaseModel
from pipeline.model.runtime import OnnxModel
from pipeline.runtime.messages import TrainerSnapshot


class Refused(Exception):
    """A candidate that must not be published; the message says why."""


@dataclass(frozen=True)
class Candidate:
    """A model to publish: its file, and the same loaded in ONNX Runtime."""

    onnx: bytes = field(repr=False)
    model: OnnxModel


def make(base: BaseModel, snapshot: TrainerSnapshot) -> Candidate:
    """Put the weights into the graph, check it, run it, and compare it with the trainer.

    Raises Refused or UnusableModel.
    """
    weights = snapshot.export_vector()
    if len(weights) != base.n_parameters:
        raise Refused(f"{len(weights)} weights for {base.name}, which has {base.n_parameters}")
    if not np.isfinite(weights).all():
        raise Refused("the weights are not all finite")
    data = base.with_weights(weights)
    try:
        onnx.checker.check_model(data)
    except onnx.checker.ValidationError as error:
        raise Refused(str(error)) from None
    candidate = Candidate(data, OnnxModel(data))
    _compare(candidate.model, snapshot)
    return candidate


def _compare(model: OnnxModel, snapshot: TrainerSnapshot) -> None:
    rows, expected = snapshot.probe_rows()
    scores = model.predict(rows if len(rows) else np.zeros((1, snapshot.n_features), np.float32))
    if not np.isfinite(scores).all():
        raise Refused("its scores of the newest rows are not all finite")
    if not len(rows):
        return
    difference = float(np.abs(scores - expected).max())
    if not difference <= parity_tolerance(expected):
        raise Refused(f"ONNX Runtime and the trainer differ by up to {difference:.3g}")
