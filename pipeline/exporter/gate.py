"""The gate: whether a candidate may be called stable, judged on rows that it was not trained on.

A candidate is stable only if, on a gate set with enough rows and groups,

- its PLCC is not negative, where the scores differ enough to tell, and at most `delta` below that of the last stable
  model (before the first: of the base model);
- its RMSE is not higher than that model's, nor than the base model's, beyond noise;
- its mean absolute error is lower than the base model's by `MIN_GAIN` beyond noise, every group counting the same, and
  not higher without the quarter of the groups that gain most: a few must not gain at the cost of the others, as they
  would by one client's wrong scores;
- where three nodes or more name themselves, nor is it higher without the quarter of the nodes that gain most, every
  node counting the same: a node may name as many groups as it likes.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.checkpoints.checkpoint import Figures, GateMetrics, State, Verdict
from pipeline.exporter.bootstrap import PairedErrors, Values
from pipeline.model.accuracy import MIN_GROUPS, agreement

MIN_ROWS = 100

MIN_GAIN = 0.2
"""Score points. A gain on the groups of one stream may be a loss on others: a base model that is nearly right has
little to gain and as much to lose (docs/decisions/0033-stability-gate.md)."""

MIN_NODES = 3
"""With fewer, none can be outvoted."""

MIN_SIGNAL = 1.0
"""Standard deviation of the scores, in points. Below it the sign of a correlation is chance."""

WORSE_CONFIDENCE = 0.95
BETTER_CONFIDENCE = 0.99

Rows = npt.NDArray[np.float32]
Predict = Callable[[Rows], Rows]


@dataclass(frozen=True)
class GateSet:
    """Rows to judge on: features float32[n, n_features], score float32[n], group int64 or uint64[n].

    `node` uint64[n] is who has sent them, 0 where that is not known; None: nobody has. `remedy` says what the operator
    can do where there are too few groups.
    """

    name: str
    features: Rows
    score: Rows
    group: npt.NDArray[np.integer]
    remedy: str = ""
    node: npt.NDArray[np.integer] | None = None


def too_small(on: GateSet) -> str:
    """Say why a gate set is too small to judge on; empty if it is not."""
    rows, groups = len(on.score), len(np.unique(on.group))
    if rows >= MIN_ROWS and groups >= MIN_GROUPS:
        return ""
    return f"{rows} rows of {groups} groups; at least {MIN_ROWS} rows of {MIN_GROUPS} groups needed"


def judge(candidate: Predict, base: Predict, stable: Predict | None, sets: Sequence[GateSet], delta: float) -> Verdict:
    """Judge a candidate on every set: unstable if one set says so, else stable if one does, else unproven."""
    verdicts = [_judge(candidate, base, stable, each, delta) for each in sets]
    order: tuple[State, ...] = ("unstable", "stable", "unproven")
    state = next((state for state in order if any(verdict.state == state for verdict in verdicts)), order[-1])
    reasons = [verdict.reason for verdict in verdicts if verdict.state == state]
    measured = {name: figures for verdict in verdicts for name, figures in verdict.metrics.items()}
    return Verdict(state, " ".join(reasons) or "There are no rows to judge on.", measured)


def _judge(candidate: Predict, base: Predict, stable: Predict | None, on: GateSet, delta: float) -> Verdict:
    rows, groups = len(on.score), len(np.unique(on.group))
    if lacking := too_small(on):
        remedy = f" {on.remedy}" if on.remedy and groups < MIN_GROUPS else ""
        return Verdict("unproven", f"{on.name}: {lacking}.{remedy}", {on.name: GateMetrics(rows, groups)})
    ours, base_model = _Result(candidate, on), _Result(base, on)
    last = None if stable is None else _Result(stable, on)
    objection = next(_objections(ours, base_model, last, on, delta), "")
    figures = GateMetrics(rows, groups, ours.figures, base_model.figures, last.figures if last else None)
    reason = objection or f"RMSE {ours.rmse:.4g}, base model {base_model.rmse:.4g}."
    return Verdict("unstable" if objection else "stable", f"{on.name}: {reason}", {on.name: figures})


class _Result:
    """How one model does on a gate set."""

    def __init__(self, predict: Predict, on: GateSet) -> None:
        predicted = predict(on.features)
        self.finite = bool(np.isfinite(predicted).all())
        self.errors: Values = np.subtract(predicted, on.score, dtype=np.float64)
        figures = agreement(predicted, on.score)
        self.rmse, self.plcc = figures["rmse"], figures["plcc"]
        self.figures = Figures.of(figures)


def _objections(ours: _Result, base: _Result, last: _Result | None, on: GateSet, delta: float) -> Iterator[str]:
    """Yield the reasons why the candidate is not stable, the most important first."""
    if not ours.finite:
        yield "predictions are not all finite."
        return
    if ours.plcc < 0 and on.score.std(dtype=np.float64) >= MIN_SIGNAL:
        yield f"PLCC {ours.plcc:.5f}: its scores rise where the true ones fall."
    rivals = [("base model", base)] if last is None else [("last stable", last), ("base model", base)]
    whose, reference = rivals[0]
    if not (np.isnan(reference.plcc) or ours.plcc >= reference.plcc - delta):
        yield f"PLCC {ours.plcc:.5f}, {whose} {reference.plcc:.5f}: more than {delta:g} lower."
    for whose, rival in rivals:
        low = PairedErrors(ours.errors, rival.errors, on.group).rmse_difference(1 - WORSE_CONFIDENCE)
        if low > 0:
            yield (
                f"RMSE {ours.rmse:.4g}, {whose} {rival.rmse:.4g}: "
                f"at least {low:.2g} higher, with {WORSE_CONFIDENCE:.0%} confidence."
            )
    paired = PairedErrors(ours.errors, base.errors, on.group)
    gain, broad_gain = paired.mean_gain(1 - BETTER_CONFIDENCE), paired.broad_gain()
    if gain < MIN_GAIN or broad_gain < 0:
        yield (
            f"RMSE {ours.rmse:.4g}, base model {base.rmse:.4g}: absolute error {_at_least_lower(gain)}, with "
            f"{BETTER_CONFIDENCE:.0%} confidence, and {_lower(broad_gain)} without the groups that gain most; "
            f"needed: at least {MIN_GAIN:g} lower, and not higher."
        )
    if on.node is not None and len(np.unique(on.node[on.node != 0])) >= MIN_NODES:
        by_node = paired.broad_gain_by(on.node)
        if by_node < 0:
            yield f"Without the nodes that gain most, absolute error {_lower(by_node)} than the base model's."


def _at_least_lower(gain: float) -> str:
    """Say in words by how many points at least an error is lower."""
    return f"at least {gain:.2g} lower" if gain >= 0 else f"not surely lower, up to {-gain:.2g} higher"


def _lower(gain: float) -> str:
    return f"{gain:.2g} lower" if gain >= 0 else f"{-gain:.2g} higher"
