"""The gate: what is called stable, what is not, and that nothing worse than the base model ever is."""

import re
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline.checkpoints.checkpoint import Verdict
from pipeline.exporter.gate import MIN_ROWS, GateSet, judge
from pipeline.model.accuracy import MIN_GROUPS

DELTA = 0.005
Rows = npt.NDArray[np.float32]


def gate_set(groups: int = 20, rows: int = 30, seed: int = 0, name: str = "held-out") -> GateSet:
    """Make rows whose only feature is the true score."""
    score = np.random.default_rng(seed).uniform(20, 95, groups * rows).astype(np.float32)
    return GateSet(name, score[:, None], score, np.repeat(np.arange(groups), rows))


def off_by(bias: float, noise: float = 1.0, seed: int = 1) -> Callable[[Rows], Rows]:
    """Make a model that is off by `bias` and by noise of its own."""
    return lambda x: (x[:, 0] + bias + np.random.default_rng(seed).normal(0, noise, len(x))).astype(np.float32)


def wrong_by(*errors: float) -> Callable[[Rows], Rows]:
    """Make a model whose errors take turns."""
    return lambda x: (x[:, 0] + np.resize(errors, len(x))).astype(np.float32)


def verdict(
    candidate: float | Callable[[Rows], Rows],
    base: float,
    stable: float | None = None,
    groups: int = 20,
    rows: int = 30,
) -> Verdict:
    """Judge models given by their bias on one set."""
    last = None if stable is None else off_by(stable, seed=3)
    ours = off_by(candidate) if isinstance(candidate, (int, float)) else candidate
    return judge(ours, off_by(base, seed=2), last, [gate_set(groups, rows)], DELTA)


def test_a_clear_gain_is_stable_and_says_so_in_figures() -> None:
    """From an error of 10 points to one of 1."""
    found = judge(wrong_by(1, -1), wrong_by(10, -10), None, [gate_set()], DELTA)
    assert found.state == "stable"
    assert found.reason == "held-out: RMSE 1, base model 10."
    figures = found.metrics["held-out"]
    assert (figures.samples, figures.groups, figures.stable) == (600, 20, None)
    assert figures.candidate is not None
    assert figures.candidate.rmse == pytest.approx(1, abs=1e-4)


def test_a_margin_is_against_the_last_stable_model_alone() -> None:
    """By so much a candidate may be worse than that one; than the base model it may not be worse at all."""

    def state(ours: float, last: float | None, base: float, margin: float) -> str:
        stable = None if last is None else wrong_by(last, -last)
        sets = [gate_set()]
        return judge(wrong_by(ours, -ours), wrong_by(base, -base), stable, sets, DELTA, margin).state

    assert state(1.05, 1.0, 10.0, margin=0.0) == "unstable"
    assert state(1.05, 1.0, 10.0, margin=0.1) == "stable"
    assert state(1.20, 1.0, 10.0, margin=0.1) == "unstable"
    assert state(1.05, 1.0, 1.0, margin=0.1) == "unstable"
    assert state(1.05, None, 1.0, margin=0.1) == "unstable"


def test_a_model_equal_to_the_base_is_not_stable() -> None:
    """Nothing gained: unstable, with the gain in figures."""
    found = judge(off_by(0, seed=1), off_by(0, seed=1), None, [gate_set()], DELTA)
    assert found.state == "unstable"
    assert "absolute error at least 0 lower, with 99% confidence" in found.reason


def test_an_error_that_is_higher_is_called_higher() -> None:
    """Never "lower by -1.4"."""
    on = gate_set(groups=8)
    gains = np.repeat([4.0, 1.0, 0.5, 0.1, 0.1, 0.0, -0.2, -0.3], 30)
    base = (on.score + 10).astype(np.float32)
    candidate = (on.score + 10 - gains).astype(np.float32)
    found = judge(lambda _: base + 2, lambda _: base, None, [on], DELTA)
    assert found.reason == "held-out: RMSE 12, base model 10: at least 2 higher, with 95% confidence."
    found = judge(lambda _: candidate, lambda _: base, None, [on], DELTA)
    assert re.search(
        r"absolute error not surely lower, up to 0\.\d+ higher, with 99% confidence, "
        r"and 0\.033 lower without the groups that gain most; needed: at least 0\.2 lower, and not higher\.",
        found.reason,
    )


@given(st.integers(0, 2**32), st.floats(0, 0.8), st.integers(MIN_GROUPS, 12))
def test_a_nearly_right_base_is_never_replaced_by_a_worse_model(seed: int, bias: float, groups: int) -> None:
    """Base right to half a point, candidate off in one way on some groups: chance alone makes none stable."""
    rng = np.random.default_rng(seed)
    on = gate_set(groups=groups, seed=seed)
    shift = np.repeat(rng.normal(bias, 0.5, groups), 30)
    candidate = (on.score + shift).astype(np.float32)
    base = (on.score + rng.normal(0, 0.5, len(on.score))).astype(np.float32)
    assume(np.mean((candidate - on.score) ** 2) >= np.mean((base - on.score) ** 2))
    assert judge(lambda _: candidate, lambda _: base, None, [on], DELTA).state == "unstable"


def test_worse_than_the_last_stable_is_unstable() -> None:
    """Better than the base by far, and still a step back beyond noise."""
    found = judge(wrong_by(3), wrong_by(10), wrong_by(1), [gate_set()], DELTA)
    assert found.state == "unstable"
    assert found.reason.startswith("held-out: RMSE 3, last stable 1: at least 2 higher")


def test_as_good_as_the_last_stable_is_stable() -> None:
    """Within noise of it, either way."""
    assert verdict(0.5, 10, stable=0.5).state == "stable"


def test_a_fall_of_plcc_beyond_delta_is_unstable() -> None:
    """RMSE is no worse than that of a biased last stable model, but the ranking suffers."""
    found = verdict(off_by(0, noise=4), 20, stable=5)
    assert found.state == "unstable"
    assert "PLCC" in found.reason
    assert "more than 0.005 lower" in found.reason
    assert judge(off_by(0, noise=4), off_by(20), off_by(5), [gate_set()], 0.1).state == "stable"


def test_a_constant_model_is_unstable_though_its_error_is_smaller() -> None:
    """It has no PLCC at all."""
    found = judge(lambda x: np.full(len(x), 57, np.float32), off_by(60), None, [gate_set()], DELTA)
    assert found.state == "unstable"
    assert "PLCC nan" in found.reason


def test_a_model_whose_scores_rise_where_the_true_ones_fall_is_never_stable() -> None:
    """Its error is smaller than the base model's, and the base model is as inverted: PLCC alone tells."""
    on = gate_set()
    mean = on.score.mean()

    def inverted(bias: float) -> Callable[[Rows], Rows]:
        return lambda x: (2 * mean - x[:, 0] + bias).astype(np.float32)

    found = judge(inverted(0), inverted(60), None, [on], DELTA)
    assert found.state == "unstable"
    assert found.reason == "held-out: PLCC -1.00000: its scores rise where the true ones fall."


def test_where_all_scores_are_alike_the_sign_of_plcc_is_chance() -> None:
    """Scores that differ by less than a point: a model that is right to a tenth is stable, whichever way it errs."""
    rng = np.random.default_rng(4)
    group = np.repeat(np.arange(20), 30)
    score = rng.normal(95, 0.1, 600).astype(np.float32)
    on = GateSet("held-out", score[:, None], score, group)
    found = judge(lambda x: 190 - x[:, 0], lambda x: 200 - x[:, 0], None, [on], DELTA)
    assert found.state == "stable"


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_predictions_that_are_not_finite_are_unstable(bad: float) -> None:
    """One row is enough; figures that do not exist are null in JSON."""

    def candidate(x: Rows) -> Rows:
        scores = x[:, 0].copy()
        scores[3] = bad
        return scores

    found = judge(candidate, off_by(10), None, [gate_set()], DELTA)
    assert (found.state, found.reason) == ("unstable", "held-out: predictions are not all finite.")
    figures = found.metrics["held-out"].candidate
    assert figures is not None
    assert figures.rmse is None


def test_a_gain_that_a_minority_pays_for_the_others_is_unstable() -> None:
    """One client's wrong scores: a fifth of the groups gain 30 points, the others lose one."""
    on = gate_set(groups=20)
    helped = on.group < 4
    base = (on.score + np.where(helped, 40, 0.5)).astype(np.float32)
    candidate = (on.score + np.where(helped, 10, 1.5)).astype(np.float32)
    found = judge(lambda _: candidate, lambda _: base, None, [on], 2.0)
    assert found.state == "unstable"
    assert "higher without the groups that gain most" in found.reason


def test_a_gain_on_a_minority_at_nobodys_cost_is_stable() -> None:
    """A target that differs for some groups only, and as before for the others."""
    on = gate_set(groups=20)
    noise = np.random.default_rng(0).normal(0, 0.5, len(on.score))
    base = (on.score + noise + np.where(on.group < 10, 6, 0)).astype(np.float32)
    candidate = (on.score + noise).astype(np.float32)
    assert judge(lambda _: candidate, lambda _: base, None, [on], DELTA).state == "stable"


def test_random_labels_on_a_tenth_of_the_rows_do_not_hide_a_gain() -> None:
    """The errors they make are the same for both models."""
    on = gate_set(groups=30)
    rng = np.random.default_rng(5)
    wrong = rng.random(len(on.score)) < 0.1
    score = np.where(wrong, rng.uniform(0, 100, len(on.score)), on.score).astype(np.float32)
    found = judge(off_by(0), off_by(6), None, [GateSet("held-out", on.features, score, on.group)], DELTA)
    assert found.state == "stable"


@pytest.mark.parametrize(("groups", "rows"), [(MIN_GROUPS - 1, 1000), (MIN_ROWS - 1, 1), (0, 0)])
def test_too_little_to_judge_on_is_unproven(groups: int, rows: int) -> None:
    """Whatever the gain; the reason has both numbers."""
    found = verdict(0, 50, groups=groups, rows=rows)
    assert found.state == "unproven"
    assert f"{groups * rows} rows of {groups} groups" in found.reason
    assert found.metrics["held-out"].candidate is None


def test_without_any_set_it_is_unproven() -> None:
    """Before anything was held out."""
    found = judge(off_by(0), off_by(10), None, [], DELTA)
    assert (found.state, found.reason) == ("unproven", "There are no rows to judge on.")


def test_a_clean_fixture_outweighs_poisoned_held_out_rows() -> None:
    """Everything that came in says 20; the candidate believes it, the fixture knows better."""
    poisoned = GateSet("held-out", gate_set().features, np.full(600, 20, np.float32), gate_set().group)
    fixture = gate_set(seed=9, name="fixture")

    def candidate(x: Rows) -> Rows:
        return np.full(len(x), 20, np.float32)

    assert judge(candidate, off_by(0), None, [poisoned], DELTA).state == "stable"
    found = judge(candidate, off_by(0), None, [poisoned, fixture], DELTA)
    assert found.state == "unstable"
    assert found.reason.startswith("fixture: ")
    assert list(found.metrics) == ["held-out", "fixture"]


def test_a_fixture_proves_what_few_held_out_groups_cannot() -> None:
    """One set is enough, if none is against it."""
    small = gate_set(groups=2)
    found = judge(off_by(0), off_by(10), None, [small, gate_set(name="fixture")], DELTA)
    assert found.state == "stable"


def test_the_verdict_does_not_depend_on_chance() -> None:
    """The same models on the same rows get the same reason, to the digit."""
    assert verdict(3, 10, stable=0.5) == verdict(3, 10, stable=0.5)


def by_nodes(groups: int, of: Callable[[int], int]) -> GateSet:
    """Make rows of groups whose second feature is their node, `of` the group, from 1 on."""
    on = gate_set(groups)
    node = np.array([of(group) for group in on.group.tolist()], np.uint64)
    features = np.stack((on.score, node.astype(np.float32)), axis=1)
    return GateSet("held-out", features, on.score, on.group, owners={"node": node})


def better_for(node: int, others: float) -> Callable[[Rows], Rows]:
    """Make a model that is right for one node and off by `others`, up and down in turn, for all others."""
    return lambda x: (x[:, 0] + np.where(x[:, 1] == node, 0, np.resize((others, -others), len(x)))).astype(np.float32)


def test_one_node_with_many_groups_does_not_outvote_the_others() -> None:
    """Of five nodes one has 120 of 160 groups, and is the only one that gains: unstable, whatever the mean says."""
    on = by_nodes(160, lambda group: 1 if group < 120 else 2 + group % 4)
    base, greedy = wrong_by(25, -25), better_for(1, others=27)
    unnamed = GateSet(on.name, on.features, on.score, on.group, owners={"node": np.zeros(len(on.group), np.uint64)})
    assert judge(greedy, base, None, [unnamed], DELTA).state == "stable"
    found = judge(greedy, base, None, [on], DELTA)
    assert found.state == "unstable"
    assert "Without the nodes that gain most" in found.reason


def test_one_node_with_many_groups_is_not_what_shows_the_gain() -> None:
    """It gains a little, and of the others one gains by chance and one loses: what they show alone is noise."""
    on = by_nodes(130, lambda group: 1 if group < 120 else 2 + group % 4)
    error = np.array([0, 10, 14, 11.5, 7, 12], np.float32)
    sign = np.resize((1, -1), len(on.score))
    found = judge(lambda x: x[:, 0] + sign * error[x[:, 1].astype(int)], wrong_by(12, -12), None, [on], DELTA)
    assert found.state == "unstable"
    assert "Without one of the nodes" in found.reason


def test_a_gain_that_all_nodes_share_is_stable() -> None:
    """Also where one of them gains more; where two are named only, groups alone decide."""
    base = wrong_by(25, -25)
    assert judge(better_for(1, others=5), base, None, [by_nodes(40, lambda g: 1 + g % 4)], DELTA).state == "stable"
    two = by_nodes(40, lambda group: 1 + (group >= 34))
    assert judge(better_for(1, others=25.1), base, None, [two], DELTA).state == "stable"


def test_a_small_gain_counts_where_the_base_model_is_nearly_right() -> None:
    """From an error of 0.5 points to one of 0.4: a tenth of it is enough, if it is sure."""
    assert judge(wrong_by(0.4, -0.4), wrong_by(0.5, -0.5), None, [gate_set()], DELTA).state == "stable"
    found = judge(wrong_by(0.47, -0.47), wrong_by(0.5, -0.5), None, [gate_set()], DELTA)
    assert found.state == "unstable"
    assert "needed: at least 0.05 lower" in found.reason


def test_few_groups_prove_a_gain_less_than_many() -> None:
    """The same mean and spread of gains by group, on four groups and on forty."""

    def state(groups: int) -> str:
        on = gate_set(groups=groups)
        gains = np.repeat(np.resize([0.2, 1.4], groups), 30)
        base = (on.score + 3).astype(np.float32)
        return judge(lambda _: (base - gains).astype(np.float32), lambda _: base, None, [on], DELTA).state

    assert (state(4), state(40)) == ("unstable", "stable")


def with_harm(points: float, encodes: int, groups: int = 20, rows: int = 96) -> Verdict:
    """Judge a model that is 3 points better but for one group, "pan", where it is worse by `points`."""
    on = gate_set(groups=groups, rows=rows)
    sign = np.resize([1.0, -1.0], len(on.score))
    base = on.score + 4 * sign
    ours = on.score + np.where(on.group == 7, 4 + points, 1.0) * sign
    named = GateSet(
        on.name,
        on.features,
        on.score,
        on.group,
        names={"group": {7: "pan"}},
        job=np.arange(len(on.group)) % rows * encodes // rows,
    )
    return judge(lambda _: ours.astype(np.float32), lambda _: base.astype(np.float32), None, [named], DELTA)


def test_no_group_pays_for_the_others() -> None:
    """One of twenty gets worse by a point over many encodes: unstable, and the reason names it."""
    found = with_harm(1.2, encodes=12)
    assert found.state == "unstable"
    assert found.reason.startswith("held-out: Worse for group pan: absolute error 5.2, base model 4, with 95%")


def test_a_group_whose_plain_encodes_are_taken_for_sharpened_ones_is_named() -> None:
    """As pan_china under vmaf_neg: RMSE from 3.6 to 4.0, its sharpened encodes better, its plain ones worse.

    36 plain encodes, four sharpened ones, four of half the strength, with the base model's errors on them as measured;
    all other groups gain. Without this one the same model is stable.
    """
    rng = np.random.default_rng(0)
    others = gate_set(groups=13, rows=200)
    bias = np.repeat([0.9, 10.6, 1.5], [36, 4, 4])
    frames = 96
    of_encode = bias + rng.normal(0, 0.8, len(bias))
    theirs = np.repeat(of_encode, frames) + rng.normal(0, 0.5, len(bias) * frames)
    ours = theirs - np.repeat([4.8, 5.8, 1.5], np.array([36, 4, 4]) * frames)
    assert np.sqrt([np.mean(theirs**2), np.mean(ours**2)]) == pytest.approx([3.57, 4.04], abs=0.15)
    score = np.concatenate([others.score, rng.uniform(30, 80, len(theirs))]).astype(np.float32)
    sign = np.resize([1.0, -1.0], len(others.score))
    predicted = [score + np.concatenate([points * sign, error]) for points, error in ((1, ours), (4, theirs))]
    group = np.concatenate([others.group, np.full(len(theirs), 99)])
    job = np.concatenate([others.group, 100 + np.repeat(np.arange(len(bias)), frames)])

    def found(rows: slice) -> Verdict:
        on = GateSet(
            "held-out",
            np.stack(predicted, axis=1).astype(np.float32)[rows],
            score[rows],
            group[rows],
            names={"group": {99: "pan_china"}},
            job=job[rows],
        )
        return judge(lambda x: x[:, 0], lambda x: x[:, 1], None, [on], DELTA)

    refused = found(slice(None))
    assert refused.state == "unstable"
    assert refused.reason.startswith("held-out: Worse for group pan_china: absolute error 3.")
    assert found(slice(len(others.score))).state == "stable"


def test_a_group_of_one_encode_may_be_chance() -> None:
    """As much on a single encode is what two trainings differ by; much more is not. A little is within the margin."""
    assert with_harm(1.2, encodes=1).state == "stable"
    assert with_harm(5.0, encodes=1).state == "unstable"
    assert with_harm(0.2, encodes=12).state == "stable"
    assert with_harm(5.0, encodes=1, rows=20).state == "stable"


def test_a_group_without_a_known_name_is_named_by_its_hash() -> None:
    """As in a quarantine."""
    on = gate_set()
    hurt = on.group == 3
    found = judge(lambda x: (x[:, 0] + np.where(hurt, 30, 0)).astype(np.float32), off_by(20, noise=0), None, [on], 2.0)
    assert "Worse for group 0000000000000003: absolute error 30, base model 20" in found.reason


def test_one_clients_random_scores_do_not_forbid_everybodys_gain() -> None:
    """Their groups get worse by chance, and tell nothing: neither model follows them."""
    on = gate_set(groups=20)
    rng = np.random.default_rng(3)
    noisy = on.group < 2
    score = np.where(noisy, rng.uniform(0, 100, len(on.score)), on.score).astype(np.float32)
    on = GateSet("held-out", on.features, score, on.group)

    def candidate(x: Rows) -> Rows:
        return (x[:, 0] + np.where(noisy, -15, 0)).astype(np.float32)

    assert judge(candidate, off_by(12), None, [on], DELTA).state == "stable"


def test_rank_counts_among_scores_that_do_not_saturate() -> None:
    """Order among rows at 100 means nothing; order below that does, and the gate objects where it falls."""
    rng = np.random.default_rng(0)
    on = gate_set(groups=30)
    score = np.where(np.arange(len(on.score)) % 3, 100, on.score).astype(np.float32)
    on = GateSet("held-out", on.features, score, on.group)
    saturated = score == 100
    base = score + 6 + np.where(saturated, 0, rng.normal(0, 0.1, len(score)))
    tied = np.where(saturated, score + rng.uniform(-0.3, 0.3, len(score)), score)
    found = judge(lambda _: tied.astype(np.float32), lambda _: base.astype(np.float32), None, [on], DELTA)
    assert found.state == "stable"
    figures = found.metrics["held-out"].candidate
    assert figures is not None
    assert figures.srocc is not None
    assert figures.srocc_under_99 is not None
    assert figures.srocc < 0.99 < figures.srocc_under_99
    jumbled = np.where(saturated, score, score + rng.normal(0, 5, len(score)))
    found = judge(lambda _: jumbled.astype(np.float32), lambda _: base.astype(np.float32), None, [on], 0.008)
    assert found.state == "unstable"
    assert "SROCC 0.9" in found.reason
    assert "among scores under 99, base model 0.9" in found.reason


@pytest.mark.parametrize("seed", range(20))
def test_scores_without_signal_prove_nothing_and_speak_against_nobody(seed: int) -> None:
    """PLCC of both models is chance: whichever is the higher, the verdict is the same, and never stable."""
    on = gate_set(groups=30, seed=seed)
    score = np.random.default_rng(seed + 100).uniform(0, 100, len(on.score)).astype(np.float32)
    blind = GateSet("held-out", on.features, score, on.group)

    def flat(x: Rows) -> Rows:
        return (50 + (x[:, 0] - 57) / 20).astype(np.float32)

    found = judge(flat, lambda x: x[:, 0], None, [blind], DELTA)
    assert found.state == "unproven"
    assert "the scores follow neither, and prove nothing" in found.reason


def test_figures_by_owner_are_bounded() -> None:
    """The eight largest by name, the others together; what is not known as its hash, or as not named."""
    on = gate_set(groups=20)
    codec = (on.group % 12).astype(np.uint64)
    seen = GateSet(on.name, on.features, on.score, on.group, owners={"codec": codec}, names={"codec": {1: "av1"}})
    by = judge(wrong_by(1, -1), wrong_by(10, -10), None, [seen], DELTA).metrics["held-out"].by["codec"]
    assert len(by) == 9
    assert by["av1"].samples == 60
    assert by["av1"].candidate == pytest.approx(1, abs=1e-4)
    assert by["av1"].base == pytest.approx(10, abs=1e-4)
    assert by["not named"].samples == 60
    assert by["0000000000000002"].samples == 60
    assert sum(part.samples for part in by.values()) == 600
    assert by["other"].samples == 120


def test_nobody_is_listed_where_nobody_is_named() -> None:
    """Rows of today's nodes: no empty table."""
    on = gate_set()
    unnamed = GateSet(on.name, on.features, on.score, on.group, owners={"node": np.zeros(600, np.uint64)})
    assert judge(wrong_by(1, -1), wrong_by(10, -10), None, [unnamed], DELTA).metrics["held-out"].by == {}
