"""What the exporter's tests publish: a real model, and a verdict on it."""

from pathlib import Path

from pipeline.checkpoints.checkpoint import Checkpoint, State, Verdict
from pipeline.checkpoints.publish import publish
from pipeline.checkpoints.reconcile import Overview, reconcile
from pipeline.model.default_network import two_layer
from pipeline.model.graph import BaseModel, parse_base_model

CREATED = "2026-05-28T12:34:56Z"


def small_model(seed: int = 0) -> BaseModel:
    """Make a 6-4-1 network."""
    return parse_base_model(two_layer(6, hidden=4, seed=seed).SerializeToString(), "small.onnx")


def publish_one(directory: Path, state: State = "stable", seed: int = 0) -> Checkpoint:
    """Publish a small model whose weights depend on `seed`."""
    base = small_model()
    verdict = Verdict(state, "Because.")
    model = base.with_weights(small_model(seed).vector())
    return publish(directory, model, verdict, step=10, samples=100, created=CREATED, base=(base.name, base.digest))


def reconciled(directory: Path, keep: int | None = 10, base: str | None = None) -> Overview:
    """Bring a directory in line, for the small model where no other base is named; raise the first thing wrong."""
    overview = reconcile(directory, keep, base or small_model().digest)
    for problem in overview.problems:
        raise problem
    return overview
