"""Export, from the trainer's snapshot to the published pair, against torch.onnx.export(dynamo=True) alone.

Ours includes the graph's check, a run in ONNX Runtime, the comparison with the trainer's scores, and four synced
files; torch's is the conversion of the same network into memory, after one export to warm up.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.figures import Figure, at_least, interleaved, not_measured
from pipeline.checkpoints.checkpoint import Verdict
from pipeline.checkpoints.store import Store
from pipeline.exporter.candidate import make
from pipeline.model.default_network import two_layer
from pipeline.model.graph import BaseModel
from pipeline.model.runtime import OnnxModel
from pipeline.runtime.messages import TrainerSnapshot

BOUND = (
    "the disk: three files, each with its directory, are synced before the next; the graph itself is the base model's "
    "with the weights' bytes replaced. torch traces, decomposes and converts the network anew each time."
)
ROUNDS = 5
HIDDEN = 64
_NEEDED = "onnxscript"


def figures() -> list[Figure]:
    """Measure on 80 and on 6 features."""
    return [_compare(n_features) for n_features in (80, 6)]


def _compare(n_features: int) -> Figure:
    question, against = "export: snapshot to published pair", "torch.onnx.export(dynamo) alone"
    setting = f"{n_features}-{HIDDEN}-1"
    if importlib.util.find_spec(_NEEDED) is None:
        return not_measured(question, against, setting, f"{_NEEDED}, which torch needs for it, is not installed")
    with tempfile.TemporaryDirectory(prefix="vmafx-bench-") as directory, quietly():
        ours, theirs = publishing(Path(directory), n_features, HIDDEN), _torch(n_features)
        ours(), theirs()
        speeds = interleaved(ROUNDS, lambda: 1 / seconds(ours), lambda: 1 / seconds(theirs))
    return at_least(question, against, setting, speeds, 100)


def seconds(action: Callable[[], object]) -> float:
    """Return how long an action takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def publishing(directory: Path, n_features: int, hidden: int) -> Callable[[], object]:
    """Return an action that does what the exporter does with a snapshot of a network in `directory`."""
    base = BaseModel(two_layer(n_features, hidden), "base")
    store = Store(directory, keep=20)
    store.in_line(base.digest)
    rows = np.random.default_rng(0).random((8, n_features), np.float32)
    snapshot = TrainerSnapshot(
        step=1,
        samples=1000,
        base_digest=base.digest,
        n_features=n_features,
        export=base.vector().tobytes(),
        probe=rows.tobytes(),
        probe_scores=OnnxModel(base.serialized).predict(rows).tobytes(),
        meta={},
        vectors={},
    )
    verdict = Verdict("unproven", "a benchmark")

    def publish() -> None:
        candidate = make(base, snapshot)
        store.publish(candidate.onnx, verdict, step=1, samples=1000, base=(base.name, base.digest))

    return publish


def _torch(n_features: int) -> Callable[[], object]:
    import torch

    network = torch.nn.Sequential(torch.nn.Linear(n_features, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, 1))
    rows = torch.rand(2, n_features)
    return lambda: torch.onnx.export(network, (rows,), dynamo=True, verbose=False)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep torch's remarks on its export to itself."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)
