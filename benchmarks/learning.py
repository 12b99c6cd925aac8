"""`make bench-learning`: what the default recipe learns, beside other ways to learn, and what spoils it.

    .venv/bin/python -m benchmarks.learning

Prints its tables, writes them into docs/learning-results.md between the marks, and the curves to docs/img/learning.png.
Takes about an hour on two cores; needs ../shared and the extra `bench`.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.learning_by_source import left_out
from benchmarks.learning_offline import OFFLINE, offline
from benchmarks.learning_rivals import METHODS, curve
from benchmarks.learning_scenarios import Figures, burst, changed, from_scratch, gated, noise, one_of_five, poisoned
from benchmarks.learning_streams import (
    SEEDS,
    SHARED,
    judged_sources,
    natural_sources,
    stream_of,
    stream_without,
)
from benchmarks.report import DOCS, markdown, replace_section, with_mean

RIVALS = ("ridge", "river", "river over base", "scikit-learn", "adam in torch")
TARGETS = ("vmaf_phone", "vmaf_neg", "vmaf")
REPEATED = ("default recipe", "adam", "adr-0781", "adam in torch")
TRAININGS = 3
"""Trainings on each stream: where one ends differs by a tenth of a point from the next."""
THOUSANDS = (1, 2, 3, 5, 10, 20, 40)
ORDERS = 6
"""Orders of the clips, each a stream of its own: by order the end differs by more than by anything else here."""
NOISE_STREAMS = 200
POISONS = ("a tenth random", "one client of four", "same wrong score")
Curves = dict[tuple[str, str], NDArray[np.float64]]


def _curve(method: str, target: str, seed: int) -> list[float]:
    trainings = range(TRAININGS if method in REPEATED else 1)
    curves = [curve(method, stream_of(target, seed), seed + len(SEEDS) * training) for training in trainings]
    return [float(error) for error in np.mean(curves, axis=0)]


def _curves(pool: ProcessPoolExecutor) -> Curves:
    """Return, by method and target, the errors float64[seed, thousand]; the last is at the end of the stream."""
    waiting: dict[tuple[str, str], list[Future[list[float]]]] = {
        (method, target): [pool.submit(_curve, method, target, seed) for seed in SEEDS]
        for method in METHODS
        for target in TARGETS
    }
    return {key: _aligned([future.result() for future in futures]) for key, futures in waiting.items()}


def _aligned(curves: list[list[float]]) -> NDArray[np.float64]:
    """Streams differ in length by their sources: keep as many thousands as all have, and each one's end."""
    length = min(map(len, curves)) - 1
    return np.array([[*errors[:length], errors[-1]] for errors in curves])


def _learning_tables(curves: Curves) -> str:
    text = ""
    for target in TARGETS:
        rows = [[method, *_learned(curves[method, target])] for method in METHODS]
        text += f"\n**{target}**\n\n" + markdown(["RMSE after", *_thousands(), "the pass", "by seed"], rows)
    return text


def _thousands() -> list[str]:
    return [f"{thousand},000" for thousand in THOUSANDS]


def _learned(errors: NDArray[np.float64]) -> list[str]:
    """Return the cells for errors float64[seed, thousand]: by thousand, at the end, and that by seed."""
    shown = [errors[:, thousand - 1].mean() for thousand in THOUSANDS]
    ends = " · ".join(f"{end:.2f}" for end in errors[:, -1])
    return [*(f"{error:.2f}" for error in (*shown, errors[:, -1].mean())), ends]


def _ahead(curves: Curves) -> str:
    """Say where the default recipe is not ahead of the rivals, from the second thousand on."""
    text = "\nThousands from the second on at which the default recipe's mean error is below the rival's:\n\n"
    rows = []
    for rival in RIVALS:
        cells = []
        for target in TARGETS:
            ours, theirs = (curves[method, target].mean(axis=0)[1:] for method in ("default recipe", rival))
            cells.append(f"{int((ours < theirs).sum())} of {len(ours)}")
        rows.append([rival, *cells])
    return text + markdown(["against", *TARGETS], rows)


def _offline_table(pool: ProcessPoolExecutor) -> str:
    waiting = {
        method: {target: [pool.submit(offline, method, target, seed) for seed in SEEDS] for target in TARGETS}
        for method in OFFLINE
    }
    rows = []
    for method, by_target in waiting.items():
        errors = [[future.result() for future in futures] for futures in by_target.values()]
        rows.append([method, *map(with_mean, errors)])
    title = "\n**Offline: all rows at once, judged on the same (RMSE, by seed)**\n\n"
    return title + markdown(["over the base model", *TARGETS], rows)


def _by_source_table(pool: ProcessPoolExecutor) -> str:
    waiting = {source: [pool.submit(left_out, source, target) for target in TARGETS] for source in natural_sources()}
    rows = []
    for source, futures in waiting.items():
        figures = (future.result() for future in futures)
        rows.append([source, *(f"{base:.2f} → {learned:.2f}" for base, learned in figures)])
    title = "\n**Each source left out alone (RMSE on it: base model → default recipe after the pass)**\n\n"
    return title + markdown(["source", *TARGETS], rows)


def _order_curve(target: str, seed: int, order: int) -> list[float]:
    number = seed + len(SEEDS) * order
    return curve("default recipe", stream_without(judged_sources(seed), target, number), number)


def _orders_table(pool: ProcessPoolExecutor) -> str:
    waiting = {
        target: [[pool.submit(_order_curve, target, seed, order) for order in range(ORDERS)] for seed in SEEDS]
        for target in TARGETS
    }
    rows = []
    for target, futures in waiting.items():
        by_seed = [np.mean([each.result() for each in of_seed], axis=0).tolist() for of_seed in futures]
        rows.append([target, *_learned(_aligned(by_seed))])
    title = f"\n**The default recipe, {ORDERS} orders of the clips for each seed (RMSE)**\n\n"
    return title + markdown(["RMSE after", *_thousands(), "the pass", "by seed"], rows)


def _means(futures: list[Future[Figures]]) -> Figures:
    figures = [future.result() for future in futures]
    return {name: float(np.mean([each[name] for each in figures])) for name in figures[0]}


def _sums(futures: list[Future[Figures]]) -> Figures:
    figures = [future.result() for future in futures]
    return {name: sum(each[name] for each in figures) for name in figures[0]}


def _figures_table(first: str, rows: dict[str, Figures]) -> str:
    names = list(next(iter(rows.values())))
    cells = [
        [
            label,
            *(
                f"{figures[name]:.4g}" if float(figures[name]).is_integer() else f"{figures[name]:.2f}"
                for name in names
            ),
        ]
        for label, figures in rows.items()
    ]
    return markdown([first, *names], cells)


def _scenario_tables(pool: ProcessPoolExecutor) -> str:
    memories = {
        memory: [pool.submit(burst, memory, seed) for seed in SEEDS] for memory in ("ring alone", "ring and reservoir")
    }
    changes = {
        f"{before} to {after}": [pool.submit(changed, before, after, seed) for seed in SEEDS]
        for before, after in (("vmaf", "vmaf_phone"), ("vmaf_phone", "vmaf"))
    }
    gates = {target: [pool.submit(gated, target, seed) for seed in SEEDS] for target in TARGETS}
    poisons = {
        f"{kind}: {target}": [pool.submit(poisoned, kind, target, seed) for seed in SEEDS]
        for kind in POISONS
        for target in ("vmaf", "vmaf_phone")
    }
    fifth = {
        f"nodes {named}: {target}": [pool.submit(one_of_five, named, target, seed) for seed in SEEDS]
        for named in ("named", "not named")
        for target in ("vmaf", "vmaf_phone")
    }
    noises = {
        kind: [pool.submit(noise, kind, seed) for seed in range(NOISE_STREAMS)]
        for kind in ("around the base model", "of nothing")
    }
    scratch = {kind: [pool.submit(from_scratch, kind, seed) for seed in SEEDS] for kind in ("uniform", "correlated")}
    sections = (
        ("A burst: 20,000 frames of one source in a row (vmaf_phone, RMSE on the other sources)", "memory", memories),
        ("The target changes after 20,000 rows (RMSE for the new target)", "change", changes),
        (
            "With the gate (RMSE; `stable` and `worst`: of what a node runs, at the end and at any time)",
            "target",
            gates,
        ),
        ("Wrong scores on purpose, with the gate", "what: target", poisons),
        ("One node of five sends 25 points too little, under 120 invented groups", "what", fifth),
        ("From scratch, 80 features", "target", scratch),
    )
    text = ""
    for title, first, waiting in sections:
        rows = {label: _means(futures) for label, futures in waiting.items()}
        text += f"\n**{title}**\n\n" + _figures_table(first, rows)
    rows = {kind: _sums(futures) for kind, futures in noises.items()}
    return text + "\n**Noise, of which nothing can be learned (8,000 rows each)**\n\n" + _figures_table("scores", rows)


def _plot(curves: Curves, path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(TARGETS), figsize=(15, 4.5), sharex=True)
    for axis, target in zip(axes, TARGETS, strict=True):
        for method in METHODS:
            errors = curves[method, target][:, :-1]
            axis.plot(np.arange(1, errors.shape[1] + 1), errors.mean(axis=0), label=method)
        axis.set(title=target, xlabel="thousand samples", ylabel="RMSE on sources left out", yscale="log", xscale="log")
    axes[0].legend(fontsize="small")
    figure.tight_layout()
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Run it all."""
    if not SHARED.is_dir():
        sys.exit(f"{SHARED} is not there: the measured frames and the base model are read from it")
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        curves = _curves(pool)
        text = "\nJudged on: " + "; ".join(f"seed {seed}: {', '.join(judged_sources(seed))}" for seed in SEEDS) + ".\n"
        text += _learning_tables(curves) + _ahead(curves) + _orders_table(pool)
        text += _by_source_table(pool) + _offline_table(pool) + _scenario_tables(pool)
    print(text)
    replace_section("figures: make bench-learning", text.rstrip(), DOCS / "learning-results.md")
    _plot(curves, DOCS / "img" / "learning.png")


if __name__ == "__main__":
    main()
