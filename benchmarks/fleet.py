"""`make bench-fleet`: what four sidecars and a pool learn together, beside what each learns alone, and what spoils it.

    .venv/bin/python -m benchmarks.fleet

Prints its tables, writes them into docs/fleet-results.md between the marks, and the curves to
docs/img/fleet-learning.png. Takes about fifteen minutes on one core; needs ../shared and the extra `plot`.
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
from benchmarks.fleet_training import Terms
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
Cell = tuple[Callable[..., Any], tuple[Any, ...]]
Key = tuple[Any, ...]
Results = Mapping[Key, Any]


def cells() -> dict[Key, Cell]:
    """Return everything that is measured, by what it is called."""
    found: dict[Key, Cell] = {}
    for seed in SEEDS:
        for target in TARGETS:
            found["base", target, seed] = base, (target, seed)
            found["alone", target, seed] = alone, (target, seed)
            for name, terms in TERMS.items():
                found["together", name, target, seed] = together, (target, seed, terms)
        for kind in BAD_POOLS:
            found["bad pool", kind, seed] = bad_pool, (kind, "vmaf", seed)
        for kind in LIARS:
            for target in ("vmaf_phone", "vmaf"):
                found["one of five", kind, target, seed] = one_of_five, (kind, target, seed)
        found["two tenants", seed] = two_tenants, ("vmaf_phone", seed)
    return found


def text(results: Results) -> str:
    """Return the tables."""
    parts = [_dealing(), _learning(results), _each(results), _scenarios(results)]
    return "\n".join(parts)


def _dealing() -> str:
    rows = [
        [str(seed), *("; ".join(each) for each in sources_of_nodes(seed)), "; ".join(judged_sources(seed))]
        for seed in SEEDS
    ]
    return "\n" + markdown(["seed", *(f"node {node + 1}" for node in range(NODES)), "judged on"], rows)


def _learning(results: Results) -> str:
    """Mean RMSE by who it is; each figure is of a seed, mean of its nodes."""
    rows = []
    for target in TARGETS:
        of_base = [results["base", target, seed] for seed in SEEDS]
        single = [results["alone", target, seed][-1] for seed in SEEDS]
        lines = {
            "base model": (of_base, None),
            "alone": ([np.mean(last.in_use) for last in single], [np.mean(last.live) for last in single]),
        }
        for name in TERMS:
            last = [results["together", name, target, seed][-1] for seed in SEEDS]
            if TERMS[name].margin:  # the pool is the same with one
                lines[f"pool: {name}"] = [each.pool for each in last], None
            lines |= {
                f"with the pool: {name}": ([np.mean(each.in_use) for each in last], None),
                f"the same before the last offer: {name}": (
                    [np.mean(each.own) for each in last],
                    [np.mean(each.live) for each in last],
                ),
            }
        reference = float(np.mean(lines["alone"][0]))
        for name, (in_use, live) in lines.items():
            change = float(np.mean(in_use)) / reference - 1
            rows.append([target, name, with_mean(in_use), f"{change:+.0%}", "" if live is None else with_mean(live)])
    headings = ["target", "whose", "in use: mean (by seed)", "against alone", "in training: mean (by seed)"]
    return "**RMSE on sources that nobody sent, after 12,000 rows of each node**\n\n" + markdown(headings, rows)


def _each(results: Results) -> str:
    """Each sidecar in turn: what its nodes use alone, and with the pool."""
    rows = []
    for target in TARGETS:
        for seed in SEEDS:
            before, after = results["alone", target, seed][-1], results["together", "all rows", target, seed][-1]
            pairs = zip(before.in_use, after.in_use, strict=True)
            rows.append([target, str(seed), *(f"{ours:.2f} → {theirs:.2f}" for ours, theirs in pairs)])
    headings = ["target", "seed", *(f"node {node + 1}" for node in range(NODES))]
    return "**Each sidecar: alone → with the pool (RMSE of what is in use)**\n\n" + markdown(headings, rows)


def _scenarios(results: Results) -> str:
    bad = {kind: [results["bad pool", kind, seed] for seed in SEEDS] for kind in BAD_POOLS}
    liars = {
        f"{kind}: {target}": [results["one of five", kind, target, seed] for seed in SEEDS]
        for kind in LIARS
        for target in ("vmaf_phone", "vmaf")
    }
    tenants = {"B beside A, and by itself": [results["two tenants", seed] for seed in SEEDS]}
    sections = (
        ("A pool that learns wrong scores on purpose (vmaf, 6,000 rows of each node)", "scores", bad),
        ("A fifth node that lies (RMSE; `sidecars`: the other four)", "what", liars),
        ("Two tenants (sums over the seeds)", "", tenants),
    )
    return "\n".join(f"**{title}**\n\n" + _figures(first, rows) for title, first, rows in sections)


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
        single = [results["alone", target, seed] for seed in SEEDS]
        fleet = [results["together", "all rows", target, seed] for seed in SEEDS]
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
