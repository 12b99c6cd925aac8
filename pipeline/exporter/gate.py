"""The gate: whether a candidate may be called stable, judged on rows that it was not trained on.

A candidate is stable only if, on a gate set with enough rows and groups,

- its PLCC is not negative, where the scores differ enough to tell, and at most `delta` below that of the last stable
  model (before the first: of the base model), unless that model's is chance;
- among rows that do not saturate, its SROCC is not lower than that model's by more than 0.02 (or `delta`), beyond
  noise;
- its RMSE is not higher than that model's, nor than the base model's, beyond noise (a fleet's pool has a margin against
  the first: `offered.MARGIN`);
- its mean absolute error is lower than the base model's by `MIN_GAIN` points, or by `MIN_GAIN_SHARE` of that, beyond
  noise, every group counting the same, and not higher without the quarter of the groups that gain most: a few must not
  gain at the cost of the others, as they would by one client's wrong scores;
- where three nodes or more name themselves, nor is it higher without the quarter of the nodes that gain most, every
  node counting the same; and without any one of them the others' groups still show a gain beyond noise: a node may name
  as many groups as it likes;
- no group gets worse than with the base model, beyond a margin and noise (`harm`).

Where neither model tells high scores from low ones, the scores prove nothing.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipeline.checkpoints.checkpoint import Figures, GateMetrics, State, Verdict
from pipeline.exporter.bootstrap import PairedCorrelations, PairedErrors, Values
from pipeline.exporter.harm import CONFIDENCE, harmed
from pipeline.exporter.whose import by_owner, label
from pipeline.model.accuracy import MIN_GROUPS, SATURATED, agreement, mean_ranks

MIN_ROWS = 100

MIN_GAIN = 0.2
MIN_GAIN_SHARE = 0.1
"""Score points, and a share of the base model's error: the smaller of the two is needed. What is gained on the groups
of one stream need not hold on others (docs/decisions/0033-stability-gate.md)."""

MIN_NODES = 3
"""With fewer, none can be outvoted."""

MAX_RANK_LOSS = 0.02
"""How much lower the SROCC among scores under `SATURATED` may be. A base model that was trained for another target may
rank almost perfectly while it is off by 12 points; a model that is off by half a point may rank a hundredth worse.
"""

MIN_SIGNAL = 1.0
"""Standard deviation of the scores, in points. Below it the sign of a correlation is chance."""

MIN_PLCC = 0.1
"""A model that correlates less explains less than a hundredth of how the scores vary."""

WORSE_CONFIDENCE = 0.95
BETTER_CONFIDENCE = 0.99

_FIGURES = ("rmse", "plcc", "srocc", "srocc_under_99")

Rows = npt.NDArray[np.float32]
Predict = Callable[[Rows], Rows]


@dataclass(frozen=True)
class GateSet:
    """Rows to judge on: features float32[n, n_features], score float32[n], group int64 or uint64[n].

    `owners` says by kind (node, tenant, codec, height) whose each row is, int[n] with 0 where that is not known;
    `names` has names by kind (also group) and number. `job` int[n] tells encodes apart, `order` int[n] is the order in
    which the rows came; without them each group is one encode, and the rows are in order.
    """

    name: str
    features: Rows
    score: Rows
    group: npt.NDArray[np.integer]
    remedy: str = ""
    owners: Mapping[str, npt.NDArray[np.integer]] = field(default_factory=dict)
    names: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    job: npt.NDArray[np.integer] | None = None
    order: npt.NDArray[np.integer] | None = None


def too_small(on: GateSet) -> str:
    """Say why a gate set is too small to judge on; empty if it is not."""
    rows, groups = len(on.score), len(np.unique(on.group))
    if rows >= MIN_ROWS and groups >= MIN_GROUPS:
        return ""
    return f"{rows} rows of {groups} groups; at least {MIN_ROWS} rows of {MIN_GROUPS} groups needed"


def judge(
    candidate: Predict,
    base: Predict,
    stable: Predict | None,
    sets: Sequence[GateSet],
    delta: float,
    margin: float = 0.0,
) -> Verdict:
    """Judge a candidate on every set: unstable if one set says so, else stable if one does, else unproven.

    Its RMSE may be higher than that of the last stable model by `margin` points, and noise.
    """
    verdicts = [_judge(candidate, base, stable, each, delta, margin) for each in sets]
    order: tuple[State, ...] = ("unstable", "stable", "unproven")
    state = next((state for state in order if any(verdict.state == state for verdict in verdicts)), order[-1])
    reasons = [verdict.reason for verdict in verdicts if verdict.state == state]
    measured = {name: figures for verdict in verdicts for name, figures in verdict.metrics.items()}
    return Verdict(state, " ".join(reasons) or "There are no rows to judge on.", measured)


def _judge(
    candidate: Predict, base: Predict, stable: Predict | None, on: GateSet, delta: float, margin: float
) -> Verdict:
    rows, groups = len(on.score), len(np.unique(on.group))
    if lacking := too_small(on):
        remedy = f" {on.remedy}" if on.remedy and groups < MIN_GROUPS else ""
        return Verdict("unproven", f"{on.name}: {lacking}.{remedy}", {on.name: GateMetrics(rows, groups)})
    ours, base_model = _Result(candidate, on), _Result(base, on)
    last = None if stable is None else _Result(stable, on)
    by = by_owner(ours.errors, base_model.errors, on.owners, on.names)
    measured = {
        on.name: GateMetrics(rows, groups, ours.figures, base_model.figures, last.figures if last else None, by)
    }
    is_noise = ours.finite and _is_noise(ours, base_model, on)
    objection = next(_objections(ours, base_model, last, on, None if is_noise else delta, margin), "")
    if objection:
        return Verdict("unstable", f"{on.name}: {objection}", measured)
    if is_noise:
        reason = (
            f"PLCC {ours.plcc:.2f}, base model {base_model.plcc:.2f}: the scores follow neither, and prove nothing."
        )
        return Verdict("unproven", f"{on.name}: {reason}", measured)
    return Verdict("stable", f"{on.name}: RMSE {ours.rmse:.4g}, base model {base_model.rmse:.4g}.", measured)


class _Result:
    """How one model does on a gate set."""

    def __init__(self, predict: Predict, on: GateSet) -> None:
        predicted = predict(on.features)
        self.predicted: Values = predicted.astype(np.float64)
        self.finite = bool(np.isfinite(predicted).all())
        self.errors: Values = np.subtract(predicted, on.score, dtype=np.float64)
        figures = agreement(predicted, on.score, _FIGURES)
        self.rmse, self.plcc, self.rank = figures["rmse"], figures["plcc"], figures["srocc_under_99"]
        self.figures = Figures.of(figures)


def _objections(
    ours: _Result, base: _Result, last: _Result | None, on: GateSet, delta: float | None, margin: float
) -> Iterator[str]:
    """Yield the reasons why the candidate is not stable, the most important first.

    Without `delta` none by correlation or by group: the scores are noise.
    """
    if not ours.finite:
        yield "predictions are not all finite."
        return
    rivals = [("base model", base, 0.0)]
    if last is not None:
        rivals.insert(0, ("last stable", last, margin))
    if delta is not None:
        yield from _correlation_objections(ours, *rivals[0][:2], on, delta)
    for whose, rival, allowed in rivals:
        low = PairedErrors(ours.errors, rival.errors, on.group).rmse_difference(1 - WORSE_CONFIDENCE)
        if low > allowed:
            yield (
                f"RMSE {ours.rmse:.4g}, {whose} {rival.rmse:.4g}: "
                f"at least {low:.2g} higher, with {WORSE_CONFIDENCE:.0%} confidence."
            )
    yield from _gain_objections(ours, base, on)
    if delta is not None:
        yield from _group_objections(ours, base, on)


def _correlation_objections(ours: _Result, whose: str, reference: _Result, on: GateSet, delta: float) -> Iterator[str]:
    score = on.score.astype(np.float64)
    linear = PairedCorrelations(ours.predicted, reference.predicted, score, on.group)
    if ours.plcc < 0 and score.std() >= MIN_SIGNAL and linear.ours(WORSE_CONFIDENCE) < 0:
        yield f"PLCC {ours.plcc:.5f}: its scores rise where the true ones fall."
    falls = not (np.isnan(reference.plcc) or ours.plcc >= reference.plcc - delta)
    is_chance = linear.theirs(1 - WORSE_CONFIDENCE) <= 0
    if falls and (not is_chance or linear.difference(WORSE_CONFIDENCE) < 0):
        yield f"PLCC {ours.plcc:.5f}, {whose} {reference.plcc:.5f}: more than {delta:g} lower."
    loss = max(delta, MAX_RANK_LOSS)
    if ours.rank < reference.rank - loss:
        below = on.score < SATURATED
        ranks = [mean_ranks(each[below]) for each in (ours.predicted, reference.predicted, score)]
        if PairedCorrelations(ranks[0], ranks[1], ranks[2], on.group[below]).difference(WORSE_CONFIDENCE) < 0:
            yield (
                f"SROCC {ours.rank:.5f} among scores under {SATURATED:g}, {whose} {reference.rank:.5f}: "
                f"more than {loss:g} lower, beyond noise."
            )


def _gain_objections(ours: _Result, base: _Result, on: GateSet) -> Iterator[str]:
    paired = PairedErrors(ours.errors, base.errors, on.group)
    gain, broad_gain = paired.mean_gain(1 - BETTER_CONFIDENCE), paired.broad_gain()
    needed = min(MIN_GAIN, MIN_GAIN_SHARE * paired.their_error)
    if gain < needed or gain <= 0 or broad_gain < 0:
        yield (
            f"RMSE {ours.rmse:.4g}, base model {base.rmse:.4g}: absolute error {_at_least_lower(gain)}, with "
            f"{BETTER_CONFIDENCE:.0%} confidence, and {_lower(broad_gain)} without the groups that gain most; "
            f"needed: at least {needed:.2g} lower, and not higher."
        )
    node = on.owners.get("node")
    if node is not None and len(np.unique(node[node != 0])) >= MIN_NODES:
        by_node = paired.broad_gain_by(node)
        if by_node < 0:
            yield f"Without the nodes that gain most, absolute error {_lower(by_node)} than the base model's."
        without_any = paired.mean_gain_without_any(node, 1 - WORSE_CONFIDENCE)
        if without_any < 0:
            yield (
                f"Without one of the nodes, absolute error {_at_least_lower(without_any)} than the base model's, with "
                f"{WORSE_CONFIDENCE:.0%} confidence."
            )


def _group_objections(ours: _Result, base: _Result, on: GateSet) -> Iterator[str]:
    job = on.group if on.job is None else on.job
    order = np.arange(len(on.group)) if on.order is None else on.order
    worse = harmed(ours.errors, base.errors, on.score.astype(np.float64), on.group, job, order)
    if worse:
        first, more = worse[0], f", and {len(worse) - 1} more" if len(worse) > 1 else ""
        yield (
            f"Worse for group {label(first.group, on.names.get('group', {}))}{more}: absolute error {first.ours:.2g}, "
            f"base model {first.theirs:.2g}, with {CONFIDENCE:.0%} confidence over all groups."
        )


def _is_noise(ours: _Result, base: _Result, on: GateSet) -> bool:
    """Whether neither model tells high scores from low ones, although these differ."""
    score = on.score.astype(np.float64)
    if score.std() < MIN_SIGNAL:
        return False
    linear = PairedCorrelations(ours.predicted, base.predicted, score, on.group)
    return all(
        not (quantile(1 - BETTER_CONFIDENCE) > MIN_PLCC or quantile(BETTER_CONFIDENCE) < -MIN_PLCC)
        for quantile in (linear.ours, linear.theirs)
    )


def _at_least_lower(gain: float) -> str:
    """Say in words by how many points at least an error is lower."""
    return f"at least {gain:.2g} lower" if gain >= 0 else f"not surely lower, up to {-gain:.2g} higher"


def _lower(gain: float) -> str:
    return f"{gain:.2g} lower" if gain >= 0 else f"{-gain:.2g} higher"
