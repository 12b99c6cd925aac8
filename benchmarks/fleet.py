"""`make bench-fleet`: what four sidecars and a pool learn together, beside what each learns alone, and what spoils it.

    .venv/bin/python -m benchmarks.fleet

Prints its tables, writes them into docs/fleet-results.md between the marks, and the curves to
docs/img/fleet-learning.png. Takes about 25 minutes on one core; needs ../shared and the extra `plot`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.fleet_nodes import NODES, sources_of_nodes
from benchmarks.fleet_scenarios import Curve, alone, bad_pool, base, one_of_five, together, two_tenants
from benchmarks.fleet_training import Round, Terms
from benchmarks.learning_streams import SEEDS, SHARED, judged_sources
from benchmarks.report import DOCS, markdown, replace_section, with_mean

TARGETS = ("vmaf_phone", "vmaf_neg", "vmaf")
TERMS = {
    "all rows": Terms(),
    "a tenth of the rows": Terms(share=0.1),
    "all rows, no margin": Terms(margin=0.0),
}
"""By what tables call it: what sidecars do, the same with a low quota, and with a gate that knows no margin."""
BAD_POOLS = ("upside down", "25 points too low", "random")
LIARS = ("random scores", "invented groups")
LIARS_TARGETS = ("vmaf_phone", "vmaf")
ORDERS = 3
"""Orders of the clips in which nodes learn alone and on the first terms: what differs between them is noise."""
_T_OF_EIGHT = 2.306
"""Student's t for 95 %, two-sided, with 8 degrees of freedom: four nodes with three orders each."""
Cell = tuple[Callable[..., Any], tuple[Any, ...]]
Key = tuple[Any, ...]
Results = Mapping[Key, Any]


def cells() -> dict[Key, Cell]:
    """Return everything that is measured, by what it is called."""
    found: dict[Key, Cell] = {}
    for seed in SEEDS:
        for target in TARGETS:
            found["base", target, seed] = base, (target, seed)
            for order in range(ORDERS):
                found["alone", target, seed, order] = alone, (target, seed, order)
            for name, terms in TERMS.items():
                for order in _orders(name):
                    found["together", name, target, seed, order] = together, (target, seed, order, terms)
        for kind in BAD_POOLS:
            found["bad pool", kind, seed] = bad_pool, (kind, "vmaf", seed)
        for kind in LIARS:
            for target in LIARS_TARGETS:
                found["one of five", kind, target, seed] = one_of_five, (kind, target, seed)
        found["two tenants", seed] = two_tenants, ("vmaf_phone", seed)
    return found


def _orders(terms: str) -> range:
    """Return the orders in which sidecars learn on terms of this name."""
    return range(ORDERS if terms == next(iter(TERMS)) else 1)


def _last(results: Results, *key: Any, orders: range = range(ORDERS)) -> list[list[Round]]:
    """Return what has come of it in the end, by seed and by order."""
    return [[results[(*key, seed, order)][-1] for order in orders] for seed in SEEDS]


def text(results: Results) -> str:
    """Return the tables."""
    parts = [_dealing(), _learning(results), *(_each(results, target) for target in TARGETS), _scenarios(results)]
    return "\n".join(parts)


def _dealing() -> str:
    rows = [
        [str(seed), *("; ".join(each) for each in sources_of_nodes(seed)), "; ".join(judged_sources(seed))]
        for seed in SEEDS
    ]
    return "\n" + markdown(["seed", *(f"node {node + 1}" for node in range(NODES)), "judged on"], rows)


def _learning(results: Results) -> str:
    """Mean RMSE by who it is; each figure is of a seed, mean of its nodes and orders."""
    rows = []
    for target in TARGETS:
        single = _last(results, "alone", target)
        lines = {
            "base model": ([results["base", target, seed] for seed in SEEDS], None),
            "alone": (_means(single, "in_use"), _means(single, "live")),
        }
        for name, terms in TERMS.items():
            last = _last(results, "together", name, target, orders=_orders(name))
            if terms.margin:  # the pool is the same with one
                lines[f"pool: {name}"] = _means(last, "pool"), None
            lines[f"with the pool: {name}"] = _means(last, "in_use"), None
            lines[f"the same before the last offer: {name}"] = _means(last, "own"), _means(last, "live")
        reference = float(np.mean(lines["alone"][0]))
        for name, (in_use, live) in lines.items():
            change = float(np.mean(in_use)) / reference - 1
            rows.append([target, name, with_mean(in_use), f"{change:+.0%}", "" if live is None else with_mean(live)])
    headings = ["target", "whose", "in use: mean (by seed)", "against alone", "in training: mean (by seed)"]
    return "**RMSE on sources that nobody sent, after 12,000 rows of each node**\n\n" + markdown(headings, rows)


def _means(rounds: list[list[Round]], of: str) -> list[float]:
    return [float(np.mean([getattr(each, of) for each in orders])) for orders in rounds]


def _each(results: Results, target: str) -> str:
    """Each sidecar in turn, mean of the orders: what its nodes use alone, with the pool, and how sure the change is."""
    rows, worse, better = [], 0, 0
    names = ("alone", target), ("together", next(iter(TERMS)), target)
    for seed, before, after in zip(SEEDS, *(_last(results, *name) for name in names), strict=True):
        single, fleet = (np.array([each.in_use for each in orders]) for orders in (before, after))
        change = fleet - single
        sure = _T_OF_EIGHT * np.sqrt(change.var(axis=0, ddof=1).mean() / ORDERS)
        worse += int((change.mean(axis=0) > sure).sum())
        better += int((change.mean(axis=0) < -sure).sum())
        pairs = zip(single.mean(axis=0), fleet.mean(axis=0), strict=True)
        rows.append([str(seed), *(f"{ours:.2f} → {theirs:.2f}" for ours, theirs in pairs), f"{sure:.2f}"])
    headings = ["seed", *(f"node {node + 1}" for node in range(NODES)), "noise"]
    told = f"{target}: better beyond noise {better}, worse beyond noise {worse}, of {len(SEEDS) * NODES}"
    title = f"**Each sidecar, {target}: alone → with the pool (RMSE of what is in use)**"
    return f"{title}\n\n{markdown(headings, rows)}\n{told}\n"


def _scenarios(results: Results) -> str:
    bad = {kind: [results["bad pool", kind, seed] for seed in SEEDS] for kind in BAD_POOLS}
    liars = {f"{kind}: {target}": _liar(results, kind, target) for kind in LIARS for target in LIARS_TARGETS}
    tenants = {"B beside A, and by itself": [results["two tenants", seed] for seed in SEEDS]}
    sections = (
        ("A pool that learns wrong scores on purpose (vmaf, 6,000 rows of each node)", "scores", bad),
        ("A fifth node that lies (RMSE; `sidecars`: the other four)", "what", liars),
        ("Two tenants (sums over the seeds)", "", tenants),
    )
    return "\n".join(f"**{title}**\n\n" + _figures(first, rows) for title, first, rows in sections)


def _liar(results: Results, kind: str, target: str) -> list[dict[str, float]]:
    """Compare the pool and the other four with what they are without the one that lies, and alone: in one order."""
    name = next(iter(TERMS))
    found = []
    for seed in SEEDS:
        with_it = results["one of five", kind, target, seed]
        without = results["together", name, target, seed, 0][-1]
        single = results["alone", target, seed, 0][-1]
        found.append({
            "pool": with_it.pool,
            "without it": without.pool,
            "sidecars": float(np.mean(with_it.in_use)),
            "without": float(np.mean(without.in_use)),
            "alone": float(np.mean(single.in_use)),
        })  # fmt: skip
    return found


def _figures(first: str, rows: Mapping[str, list[dict[str, float]]]) -> str:
    names = list(next(iter(rows.values()))[0])
    cells_of = [[name, *(_cell([each[key] for each in found]) for key in names)] for name, found in rows.items()]
    return markdown([first, *names], cells_of)


def _cell(values: list[float]) -> str:
    """Return counts summed, errors averaged."""
    return str(sum(values)) if all(isinstance(value, int) for value in values) else with_mean(values)


def plot(results: Results, path: Path) -> None:
    """Draw the mean error over the rows of each node."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 4.5), layout="constrained")
    for axis, target in zip(figure.subplots(1, len(TARGETS)), TARGETS, strict=True):
        pairs = [(seed, order) for seed in SEEDS for order in range(ORDERS)]
        single = [results["alone", target, *pair] for pair in pairs]
        fleet = [results["together", "all rows", target, *pair] for pair in pairs]
        axis.axhline(
            np.mean([results["base", target, seed] for seed in SEEDS]), color="gray", ls="--", label="base model"
        )
        axis.plot(*_curve(single, "in_use"), ":o", label="sidecars alone")
        axis.plot(*_curve(fleet, "in_use"), "-o", label="sidecars with the pool")
        axis.plot(*_curve(fleet, "pool"), "-k", label="pool")
        axis.set(title=target, xlabel="thousand rows of each node", ylabel="RMSE of what is in use", yscale="log")
        axis.legend(fontsize="small")
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)


def _curve(curves: list[Curve], of: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    errors = np.array([[np.mean(getattr(each, of)) for each in curve] for curve in curves]).mean(axis=0)
    return np.arange(1, len(errors) + 1), errors


def main() -> None:
    """Run it all."""
    if not SHARED.is_dir():
        sys.exit(f"{SHARED} is not there: the measured frames and the base model are read from it")
    with ProcessPoolExecutor() as pool:
        waiting = {key: pool.submit(function, *arguments) for key, (function, arguments) in cells().items()}
        results = {key: future.result() for key, future in waiting.items()}
    tables = text(results)
    print(tables)
    replace_section("figures: make bench-fleet", tables.rstrip(), DOCS / "fleet-results.md")
    plot(results, DOCS / "img" / "fleet-learning.png")


if __name__ == "__main__":
    main()
