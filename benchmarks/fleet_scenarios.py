"""What sidecars learn together and alone, and what one that lies can do. Each function returns figures by name."""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np

from benchmarks.fleet_nodes import NODES, Dealt, dealt
from benchmarks.fleet_training import Fleet, Round, Terms
from benchmarks.learning_streams import base_model, group_of
from pipeline.model.runtime import OnnxModel
from pipeline.shm.rows import RowBatch

Curve = list[Round]
_SHORT = 6000
"""Rows of each node where no figure has to be as good as it gets."""


def base(target: str, seed: int) -> float:
    """Return the base model's error."""
    deal = dealt(target, seed)
    return deal.error(OnnxModel(base_model().serialized).predict(deal.judge_features))


def alone(target: str, seed: int, order: int) -> Curve:
    """Let each node learn from its own rows."""
    return list(Fleet(dealt(target, seed, order), seed + 100 * order, None).rounds())


def together(target: str, seed: int, order: int, terms: Terms) -> Curve:
    """Let them share rows and models on these terms."""
    return list(Fleet(dealt(target, seed, order), seed + 100 * order, terms).rounds())


def bad_pool(kind: str, target: str, seed: int) -> dict[str, float]:
    """Teach the pool wrong scores; count what sidecars took, and which of that was worse than the base model."""
    fleet = Fleet(_short(dealt(target, seed)), seed, Terms(), lambda rows: _spoiled(rows, kind))
    last = list(fleet.rounds())[-1]
    judge = fleet.deal.judge_features
    honest = list(Fleet(fleet.deal, seed, None).rounds())[-1]
    return {
        "pool": fleet.deal.error(fleet.pool.predict(judge, fleet.pool.live)),
        "pool's models": fleet.pool.published,
        "offered": sum(site.taken + site.refused for site in fleet.sites),
        "taken": sum(site.taken for site in fleet.sites),
        "sidecars": float(np.mean(last.in_use)),
        "alone": float(np.mean(honest.in_use)),
    }


def one_of_five(kind: str, target: str, seed: int) -> Round:
    """Add a fifth node that lies; return what becomes of the pool and the other four."""
    deal = dealt(target, seed)
    last = list(Fleet(deal.joined(_liar(deal, kind, seed)), seed, Terms()).rounds())[-1]
    return last._replace(live=last.live[:NODES], own=last.own[:NODES], in_use=last.in_use[:NODES])


def two_tenants(target: str, seed: int) -> dict[str, float]:
    """Train tenant B beside tenant A, a thousand rows in turn, and by itself; count the models that differ in a bit."""
    deal = _short(dealt(target, seed))
    first, second = deal.of(0, 1), deal.of(2, 3)
    beside = Fleet(second, seed, Terms())
    for _ in zip(Fleet(first, seed + 1, Terms()).rounds(), beside.rounds(), strict=True):
        pass
    by_itself = Fleet(second, seed, Terms())
    list(by_itself.rounds())
    pairs = list(zip(_models(beside), _models(by_itself), strict=True))
    return {"models of B": len(pairs), "that differ": sum(ours != theirs for ours, theirs in pairs)}


def _models(fleet: Fleet) -> list[str]:
    sites = [fleet.pool, *fleet.sites]
    return [hashlib.sha256(each.tobytes()).hexdigest() for site in sites for each in (site.live, site.in_use)]


def _short(deal: Dealt) -> Dealt:
    return deal.with_nodes(tuple(rows.first(_SHORT) for rows in deal.nodes))


def _spoiled(rows: RowBatch, kind: str) -> RowBatch:
    """Return the rows with wrong scores: upside down, 25 points too low, or at random (of the row's key)."""
    if kind == "upside down":
        rows.score[:] = 100 - rows.score
    elif kind == "25 points too low":
        rows.score[:] = np.maximum(0, rows.score - 25)
    else:
        rows.score[:] = rows.key % np.uint64(101)
    return rows


def _liar(deal: Dealt, kind: str, seed: int) -> RowBatch:
    """Return as many rows of the others' content: with random scores, or 25 points too low under invented groups."""
    source = RowBatch.over(np.concatenate([rows.words for rows in deal.nodes]), deal.nodes[0].n_features)
    chosen = np.random.default_rng(seed).permutation(len(source))[: len(deal.nodes[0])]
    rows = source.select(np.sort(chosen))
    rows.node[:] = group_of("liar")
    rows.key[:] = [group_of(f"liar-{place}") for place in range(len(rows))]
    rows.group[:] = rows.job[:] = [_group(f"invented-{place // 100}") for place in range(len(rows))]
    return _spoiled(rows, "random" if kind == "random scores" else "25 points too low")


@cache
def _group(name: str) -> int:
    return group_of(name)
