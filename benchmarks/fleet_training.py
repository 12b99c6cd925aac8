"""A fleet in one process: the trainer's own training and the exporter's own gate, for each sidecar and for the pool.

What the network and the processes would do between them is done in turn: rows go up after each quarter of a thousand,
models are judged after each thousand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.fleet_nodes import Dealt
from benchmarks.learning_streams import Floats, Sidecar, base_model
from pipeline import config
from pipeline.exporter.bootstrap import PairedErrors
from pipeline.exporter.gate import WORSE_CONFIDENCE, judge
from pipeline.exporter.gate_inputs import held_out
from pipeline.exporter.offered import MARGIN
from pipeline.shm.rows import HELD_OUT, RowBatch
from pipeline.trainer.recipe import Recipe
from pipeline.trainer.trust import NodeTrust
from pipeline.uplink.quota import spread

EVERY = 1000
_UP_EVERY = 250
_DELTA = 0.005
Vector = NDArray[np.float32]
Spoil = Callable[[RowBatch], RowBatch]


@dataclass(frozen=True)
class Terms:
    """How a fleet works: `share` of a node's rows goes to the pool, as many as the quota lets through.

    A model of the pool's passes a sidecar's gate, and is gone on from, where it is not worse than the last stable one,
    or the live weights, by more than `margin` points of RMSE beyond noise.
    """

    share: float = 1.0
    margin: float = MARGIN


class Site:
    """A sidecar or the pool: a training, and what its gate has let pass."""

    def __init__(self, seed: int, *, is_pool: bool = False) -> None:
        settings = config.load({"VMAFX_FLEET_URL": "nats://localhost", "VMAFX_POOL": "pool"} if is_pool else {})
        self.sidecar = Sidecar(
            Recipe(),
            base_model(),
            seed,
            recent=settings.replay_capacity,
            reservoir=settings.reservoir_capacity,
            holdout=settings.holdout_capacity,
            trust=NodeTrust() if is_pool else None,
        )
        self.training = self.sidecar.training
        self.stable: Vector | None = None
        self.published = self.taken = self.started = self.refused = 0

    @property
    def live(self) -> Vector:
        """What would be exported now."""
        return self.training.export_vector()

    @property
    def in_use(self) -> Vector:
        """What a node that follows `latest-stable` predicts with."""
        return base_model().vector() if self.stable is None else self.stable

    def predict(self, features: Floats, vector: Vector) -> Floats:
        """Predict with these weights."""
        return self.training.learner.predict(features, vector)

    def export(self) -> None:
        """Have the gate judge what was learned, and the training itself."""
        self.training.evaluate()
        self.published += self._passes(self.live)

    def take_offer(self, vector: Vector, margin: float) -> None:
        """Have the gate judge a model of the pool's; go on from it where it is not worse than what is learned here."""
        if not self._passes(vector, margin):
            self.refused += 1
            return
        self.taken += 1
        if self._surely_higher(vector, self.live) <= margin:
            self.training.reset_to(vector)
            self.started += 1

    def _passes(self, vector: Vector, margin: float = 0.0) -> bool:
        last = None if self.stable is None else self._model(self.stable)
        rows = held_out(self.sidecar.holdout.snapshot())
        verdict = judge(self._model(vector), self._model(base_model().vector()), last, [rows], _DELTA, margin)
        if verdict.state != "stable":
            return False
        self.stable = vector.copy()
        self.training.set_stable(self.stable)
        return True

    def _surely_higher(self, vector: Vector, other: Vector) -> float:
        """Return by how much the RMSE on the held-out rows is higher at least, with 95 % confidence."""
        rows = self.sidecar.holdout.snapshot()
        ours, theirs = (self.predict(rows.features, each).astype(np.float64) - rows.score for each in (vector, other))
        return PairedErrors(ours, theirs, rows.group).rmse_difference(1 - WORSE_CONFIDENCE)

    def _model(self, vector: Vector) -> Callable[[Floats], Floats]:
        return lambda features: self.predict(features, vector)

    def shared(self, rows: RowBatch, share: float) -> RowBatch:
        """Return what the uplink sends of rows that were learned from: spread over groups, the held-out ones marked."""
        chosen = rows.select(spread(rows, round(share * len(rows))))
        chosen.flags[np.isin(chosen.group, self.sidecar.holdout.groups())] |= np.uint32(HELD_OUT)
        return chosen


class Round(NamedTuple):
    """RMSE on the judged rows after a thousand rows of each node: of what the pool publishes, and of each sidecar.

    `live` is of what it trains, `own` of what its nodes use just before the pool's model is offered, `in_use` after.
    """

    pool: float
    live: list[float]
    own: list[float]
    in_use: list[float]


class Fleet:
    """Sites for all nodes of a deal, and a pool where there are terms for it.

    `spoil` changes what the pool learns of each batch of rows: then its model is bad, and its own gate cannot tell.
    """

    def __init__(self, deal: Dealt, seed: int, terms: Terms | None, spoil: Spoil | None = None) -> None:
        self.deal, self.terms, self._spoil = deal, terms, spoil
        self.sites = [Site(seed + 10 * node) for node in range(len(deal.nodes))]
        self.pool = Site(seed + 1000, is_pool=True)

    def rounds(self) -> Iterator[Round]:
        """Send all rows, a thousand of each node at a time; yield what has come of it."""
        for start in range(0, len(self.deal.nodes[0]), EVERY):
            for at in range(start, start + EVERY, _UP_EVERY):
                self._learn(at, at + _UP_EVERY)
            for site in self.sites:
                site.export()
            own = [self._error(site, site.in_use) for site in self.sites]
            live = [self._error(site, site.live) for site in self.sites]
            self._offer()
            in_use = [self._error(site, site.in_use) for site in self.sites]
            yield Round(self._error(self.pool, self.pool.in_use), live, own, in_use)

    def _learn(self, start: int, end: int) -> None:
        for site, rows in zip(self.sites, self.deal.nodes, strict=True):
            block = rows.between(start, end)
            site.sidecar.take(block)
            if self.terms is not None:
                shared = site.shared(block, self.terms.share)
                self.pool.sidecar.take(shared if self._spoil is None else self._spoil(shared))

    def _offer(self) -> None:
        if self.terms is None:
            return
        self.pool.export()
        if self.pool.stable is not None:
            for site in self.sites:
                site.take_offer(self.pool.stable, self.terms.margin)

    def _error(self, site: Site, vector: Vector) -> float:
        return self.deal.error(site.predict(self.deal.judge_features, vector))
