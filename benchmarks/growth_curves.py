"""How each part's speed grows with connections, features, capacity and parameters."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.clients import apart, lock_step
from benchmarks.export import publishing
from benchmarks.ingest import decode_rate, ingest_rates
from benchmarks.our_loop import our_loop, random_rows
from benchmarks.sidecar import running
from benchmarks.traffic import messages
from pipeline.ingest.admission import Admission
from pipeline.ingest.dedup import Deduplicator
from pipeline.model.default_network import two_layer
from pipeline.model.graph import BaseModel
from pipeline.runtime import saved_state
from pipeline.runtime.saved_state import SavedRows, SavedState
from pipeline.shm.ring import Ring
from pipeline.shm.rows import RowBatch
from pipeline.trainer.learners import new_learner
from pipeline.trainer.random_indices import RandomIndices
from pipeline.trainer.recipe import Recipe
from pipeline.trainer.torch_learner import TorchLearner

CONNECTIONS = (1, 4, 16, 64, 256)
FEATURES = (6, 20, 80, 200, 512)
CAPACITIES = (1_000, 10_000, 100_000, 1_000_000)
# Of networks 80-h-1: 83 to 999,991 parameters.
HIDDEN = (1, 12, 122, 1220, 12195)
_PREFIX = b'{"ok":true,"step":1,"trained":true,"loss":0.5,"job_id":'


@dataclass
class Curve:
    """One panel: values by series along `places`, relative to the first one of each series unless `unit` says else."""

    title: str
    along: str
    bound: str
    unit: str = "times the first"
    places: list[int] = field(default_factory=list)
    series: dict[str, list[float]] = field(default_factory=dict)

    def add(self, place: int, **values: float) -> None:
        """Add a place with the value of each series."""
        self.places.append(place)
        for name, value in values.items():
            self.series.setdefault(name.replace("_", " "), []).append(value)

    def relative(self) -> dict[str, list[float]]:
        """Return the series as they are shown."""
        if self.unit != "times the first":
            return self.series
        return {name: [value / values[0] for value in values] for name, values in self.series.items()}


def curves() -> Iterator[Curve]:
    """Measure all curves."""
    yield over_connections()
    yield over_features()
    yield over_capacity()
    yield saving_over_capacity()
    yield steps_over_parameters()
    yield export_over_parameters()


def over_connections() -> Curve:
    """Throughput of pipelined clients, and latency of lock-step ones."""
    curve = Curve(
        "connections, 80 features",
        "connections",
        "Throughput is bound by decoding; it falls from some tens of connections on, since all share the bytes of a "
        "round, so that the last one too is answered in time, and each block then holds a message or two. A lock-step "
        "client waits for the round of all others, so its latency grows with their number.",
    )
    lines = messages(30_000, 80)
    with running(80) as sidecar:
        for count in CONNECTIONS:
            throughput, _ = ingest_rates(sidecar, lines, count)
            _, delays = apart(lock_step, sidecar.socket, lines, count, 1.5)
            p50, p99 = np.percentile(delays, (50, 99))
            curve.add(count, throughput=throughput, median_latency=float(p50), p99_latency=float(p99))
    return curve


def over_features() -> Curve:
    """Throughput of ingest, beside decoding alone."""
    curve = Curve(
        "features, 8 connections",
        "features",
        "Both fall with the length of a message. The share of ingest in what decoding alone allows rises, since its "
        "fixed work for each message weighs less.",
    )
    for n_features in FEATURES:
        lines = messages(24_000 if n_features <= 80 else 6_000, n_features)
        with running(n_features, REPLAY_CAPACITY="2000") as sidecar:
            throughput, _ = ingest_rates(sidecar, lines, 8)
        decoding = decode_rate(lines)
        curve.add(n_features, throughput=throughput, decoding_alone=decoding, share=throughput / decoding)
    return curve


def over_capacity() -> Curve:
    """Time to sample a batch from a full ring, and to admit a message."""
    curve = Curve(
        "ring capacity, 6 features",
        "samples",
        "Both are independent of the capacity in their work; what grows is the share of cache misses, once ring and "
        "identities no longer fit the caches.",
    )
    lines = messages(20_000, 6)
    blocks = [b"".join(lines[start : start + 400])[:-1] for start in range(0, len(lines), 400)]
    for capacity in CAPACITIES:
        ring = full_ring(capacity)
        draws, out = RandomIndices(0), RowBatch(32, 6)
        sampling = seconds_of(lambda: ring.take(ring.oldest, draws.indices(32, capacity), out), 2000)  # noqa: B023
        keys = np.random.default_rng(1).integers(0, 2**63, capacity).tolist()
        admission = Admission(ring, Deduplicator(capacity, keys), 1 << 18)
        blocks_in = iter(blocks * 2)
        admitting = seconds_of(lambda: admission.admit([[next(blocks_in)]], _PREFIX), 10)  # noqa: B023
        curve.add(capacity, time_to_sample=sampling, time_to_admit=admitting)
    return curve


def saving_over_capacity() -> Curve:
    """Time to copy a full ring and reservoir and to save them, durably."""
    curve = Curve(
        "saving the state, 6 features",
        "samples",
        "From some ten thousand samples on, bytes: they are copied, digested and written, in the exporter's own "
        "thread. Below, the two syncs of the disk.",
    )
    with tempfile.TemporaryDirectory(prefix="vmafx-bench-") as directory:
        for capacity in CAPACITIES:
            ring = full_ring(capacity)

            def save(ring: Ring = ring) -> None:
                batch, head = ring.snapshot()
                rows = SavedRows(batch.words, head)
                saved_state.save(Path(directory), SavedState(6, "", {"ring": rows, "reservoir": rows}))

            curve.add(capacity, time_to_save=seconds_of(save, 1))
    return curve


def steps_over_parameters() -> Curve:
    """Time of a turn of the training loop, by learner."""
    curve = Curve(
        "training step, 80-h-1",
        "parameters",
        "Up to some thousand parameters, the number of calls, of which numpy needs fewer; from a hundred thousand on, "
        "passes over vectors of weights, which both learners make alike.",
        unit="times numpy's first",
    )
    first = 0.0
    for hidden in HIDDEN:
        base, recipe = BaseModel(two_layer(80, hidden), "base"), Recipe()
        repeats = max(3, min(300, 1_000_000 // base.n_parameters))
        numpy_step = seconds_of(our_loop(base, new_learner(base, recipe)), repeats)
        torch_step = seconds_of(our_loop(base, TorchLearner(base, recipe)), repeats)
        first = first or numpy_step
        curve.add(base.n_parameters, numpy=numpy_step / first, torch=torch_step / first)
    return curve


def export_over_parameters() -> Curve:
    """Time from snapshot to published checkpoint."""
    curve = Curve(
        "export, 80-h-1",
        "parameters",
        "Up to a hundred thousand parameters, the syncs of the disk; beyond, the bytes: they are checked, loaded into "
        "ONNX Runtime, digested and written.",
    )
    for hidden in HIDDEN:
        with tempfile.TemporaryDirectory(prefix="vmafx-bench-") as directory:
            action = publishing(Path(directory), 80, hidden)
            curve.add(80 * hidden + 2 * hidden + 1, time_to_export=seconds_of(action, 1))
    return curve


def full_ring(capacity: int) -> Ring:
    """Return a ring of 6 features that has wrapped around."""
    ring = Ring.private(capacity, 6)
    rows = random_rows(min(capacity, 10_000), 6)
    for _ in range(-(-ring.slots // len(rows)) + 1):
        ring.extend(rows)
    return ring


def seconds_of(action: Callable[[], object], repeats: int, rounds: int = 5) -> float:
    """Return the seconds that an action takes: the median over rounds of the mean over `repeats`."""
    seconds: list[float] = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        for _ in range(repeats):
            action()
        seconds.append((time.perf_counter() - began) / repeats)
    return float(np.median(seconds[1:]))
