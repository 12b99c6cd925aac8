"""One node of five sends wrong scores under groups that it invents; ring, training and gate are the real ones."""

import numpy as np
import xxhash

from pipeline.data import BASE_MODEL
from pipeline.exporter.gate import judge
from pipeline.exporter.gate_inputs import held_out
from pipeline.model.graph import load_base_model
from pipeline.shm.reservoir import Reservoir
from pipeline.shm.ring import Ring
from pipeline.shm.rows import RowBatch
from pipeline.trainer.online import OnlineTraining
from pipeline.trainer.recipe import Recipe
from tests.support.invented import BAD, ROWS, five_nodes

AT_ONCE, EVERY = 16, 1000


def hashed(name: str) -> int:
    """Return the hash of a name, as ingest does."""
    return xxhash.xxh3_64_intdigest(name.encode())


def stream() -> RowBatch:
    """Return the rows of five nodes, as ingest makes them."""
    sent = five_nodes()
    rows = RowBatch(len(sent.score), sent.features.shape[1])
    rows.features[:], rows.score[:], rows.node[:] = sent.features, sent.score, sent.node
    rows.group[:] = [hashed(name) for name in sent.group]
    rows.job[:] = rows.group
    rows.key[:] = np.arange(len(rows))
    return rows


def test_one_node_of_five_with_invented_groups_gets_nothing_stable() -> None:
    """It has most of the groups. Every thousand rows the gate judges, and says no; the training has believed it."""
    base, rows = load_base_model(BASE_MODEL), stream()
    ring = Ring.private(10_000, rows.n_features)
    reservoir, holdout = (Reservoir.private(capacity, rows.n_features) for capacity in (10_000, 4096))
    ring.open_writer()
    reservoir.open_writer()
    holdout.open_writer()
    training = OnlineTraining(base, Recipe(), ring, reservoir, holdout)
    states = []
    for start in range(0, len(rows), AT_ONCE):
        ring.extend(rows.select(np.arange(start, min(start + AT_ONCE, len(rows)))))
        training.advance(AT_ONCE)
        if start // EVERY != (start + AT_ONCE) // EVERY:
            on = held_out(holdout.snapshot())
            vectors = training.export_vector(), base.vector()
            candidate, unchanged = (lambda x, v=v: training.learner.predict(x, v) for v in vectors)
            states.append(judge(candidate, unchanged, None, [on], 0.005).state)
    held = on.owners["node"]
    assert len(np.unique(on.group[held == BAD])) > len(np.unique(on.group[held != BAD]))
    assert len(states) == ROWS // EVERY
    assert "stable" not in states
    far = training.learner.predict(rows.features, vectors[0]) - training.learner.predict(rows.features, vectors[1])
    assert np.abs(far).mean() > 1
