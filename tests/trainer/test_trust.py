"""A node whose scores do not fit those of the others is predicted, and not learned from."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.shm.rows import HELD_OUT, RowBatch
from pipeline.trainer.online import OnlineTraining
from pipeline.trainer.recipe import Recipe
from pipeline.trainer.trust import NodeTrust
from tests.trainer.streams import base_model, corpus, group_of, private_reservoir, private_ring

HONEST, LIAR = (1, 2, 3, 4), 5
ROWS = 3000
"""Of each node."""
Floats = NDArray[np.float32]


def told(trust: NodeTrust, errors: dict[int, float], base_error: float = 12.0, rows: int = 1000) -> bool:
    """Tell of so many rows of each node, and have it decide."""
    for node, error in errors.items():
        batch = RowBatch(rows, 6)
        batch.node[:] = node
        trust.add(batch, np.full(rows, error, np.float32), np.full(rows, base_error, np.float32))
    return trust.review()


def test_a_node_that_stays_unlike_the_others_is_distrusted_until_it_fits() -> None:
    """Not before enough was seen of it; a state has what was seen."""
    trust = NodeTrust()
    errors = dict.fromkeys(HONEST, 1.0)
    assert not told(trust, errors | {LIAR: 20.0}, rows=400)
    assert told(trust, errors | {LIAR: 20.0}, rows=600)
    assert trust.distrusted == {LIAR}
    again = NodeTrust()
    again.restore(trust.state())
    assert again.distrusted == {LIAR}
    for each in (trust, again):
        assert not told(each, errors | {LIAR: 4.0}, rows=100)
        while LIAR in each.distrusted:
            told(each, errors | {LIAR: 1.5})
        assert each.distrusted == frozenset()


@pytest.mark.parametrize(
    ("errors", "base_error"),
    [
        ({1: 1.0, 2: 1.0, 3: 1.0, 4: 1.0, 5: 6.0}, 12.0),
        ({1: 3.0, 2: 3.0, 3: 13.0}, 12.0),
        ({1: 1.0, 2: 20.0}, 12.0),
        ({1: 1.0, 2: 1.0, 3: 20.0, 4: 20.0}, 12.0),
        ({1: 1.0, 2: 20.0, 3: 20.0}, 12.0),
        ({1: 0.1, 2: 0.1, 3: 0.1, 0: 30.0}, 12.0),
        ({1: 0.1, 2: 0.1, 3: 2.2}, 1.0),
    ],
    ids=["better than the base", "not by far", "two", "half", "most", "not named", "small errors"],
)
def test_who_is_not_distrusted(errors: dict[int, float], base_error: float) -> None:
    """Content that is hard, small differences, whoever is no minority, and rows of which nobody knows the node."""
    trust = NodeTrust()
    assert not told(trust, errors, base_error, rows=1500)
    assert trust.distrusted == frozenset()


def test_no_more_nodes_are_followed_than_there_is_room_for() -> None:
    """A fleet may have more; what is known of the others stays."""
    trust = NodeTrust()
    told(trust, dict.fromkeys(HONEST, 1.0) | {LIAR: 20.0})
    batch = RowBatch(5000, 6)
    batch.node[:] = np.arange(100, 5100)
    trust.add(batch, np.full(5000, np.nan, np.float32), np.zeros(5000, np.float32))
    trust.add(batch, np.ones(5000, np.float32), np.ones(5000, np.float32))
    assert not trust.review()
    assert trust.distrusted == {LIAR}


def test_a_state_takes_the_same_room_whatever_was_seen() -> None:
    """The region that it is published in is made at the start."""
    trust = NodeTrust()
    before = {name: part.nbytes for name, part in trust.state().items()}
    told(trust, dict.fromkeys(HONEST, 1.0) | {LIAR: 20.0})
    batch = RowBatch(5000, 6)
    batch.node[:] = np.arange(100, 5100)
    trust.add(batch, np.ones(5000, np.float32), np.ones(5000, np.float32))
    assert {name: part.nbytes for name, part in trust.state().items()} == before


def rows_of(node: int, scores: Floats, features: Floats) -> RowBatch:
    """Return rows of a node in groups of a hundred."""
    rows = RowBatch(len(scores), 6)
    rows.features[:], rows.score[:], rows.node[:] = features, scores, node
    rows.group[:] = rows.job[:] = [group_of(f"{node}-{place // 100}") for place in range(len(rows))]
    rows.key[:] = np.arange(1, len(rows) + 1) + 100_000 * node
    return rows


def learned(trust: NodeTrust | None, lie: Floats | None) -> tuple[OnlineTraining, float]:
    """Learn vmaf_phone from four nodes, and a fifth with other scores; return the error on all frames."""
    frames, target = corpus(), corpus().target("vmaf_phone")
    rng = np.random.default_rng(0)
    ring, reservoir, holdout = private_ring(capacity=20_000), private_reservoir(), private_reservoir()
    training = OnlineTraining(base_model(), Recipe(), ring, reservoir, holdout, seed=1, trust=trust)
    places = {node: rng.permutation(len(target))[:ROWS] for node in (*HONEST, LIAR)}
    nodes = [rows_of(node, target[place], frames.features[place]) for node, place in places.items()]
    nodes = nodes[:-1] if lie is None else nodes
    if lie is not None:
        nodes[-1].score[:] = lie
    for start in range(0, ROWS, 16):
        for rows in nodes:
            ring.extend(rows.between(start, min(start + 16, ROWS)))
            training.advance(16)
    predicted = training.learner.predict(frames.features, training.export_vector())
    return training, float(np.sqrt(np.mean((predicted - target) ** 2)))


def test_what_a_liar_sends_is_neither_learned_nor_judged_by() -> None:
    """Random scores of one node in five: its rows leave all memory, and the error is what it is without the node."""
    lie = np.random.default_rng(1).uniform(0, 100, ROWS).astype(np.float32)
    trust = NodeTrust()
    training, error = learned(trust, lie)
    _, without_trust = learned(None, lie)
    _, without_liar = learned(NodeTrust(), None)
    assert trust.distrusted == {LIAR}
    for memory in (training._reservoir, training._holdout.reservoir):
        assert set(memory.snapshot().node.tolist()) <= set(HONEST)
    assert error < 0.5 * (without_liar + without_trust)
    again = OnlineTraining(
        base_model(), Recipe(), training._ring, training._reservoir, training._holdout.reservoir, trust=NodeTrust()
    )
    again.restore(*training.state())
    assert again.distrusted == [LIAR]


@pytest.mark.parametrize("feature", [1e3, 1e6, 3e38])
def test_one_row_of_no_picture_does_not_decide_for_all(feature: float) -> None:
    """Held out, it alone would make every model's error: of one member, for one sample, the pool would publish none."""
    frames, target = corpus(), corpus().target("vmaf_phone")
    ring, reservoir, holdout = private_ring(), private_reservoir(), private_reservoir()
    training = OnlineTraining(base_model(), Recipe(), ring, reservoir, holdout, trust=NodeTrust())
    rows = rows_of(1, target[:200], frames.features[:200])
    rows.features[[50, 150]] = feature
    rows.flags[50] = HELD_OUT
    ring.extend(rows)
    training.advance(200)
    assert (training.cursor, training.excluded, training.steps_undone) == (200, 2, 0)
    for again in (False, True):
        if again:
            training.exclude([])
        kept = np.concatenate([memory.snapshot().features for memory in (reservoir, holdout)])
        assert len(kept) == 198
        assert kept.max() < feature


def test_features_that_overflow_are_the_largest_error() -> None:
    """Whoever sends nothing else is not passed over."""
    trust = NodeTrust()
    assert told(trust, dict.fromkeys(HONEST, 1.0) | {LIAR: np.inf}, base_error=np.nan)
    assert trust.distrusted == {LIAR}
    assert not trust.make_sense(np.array([np.nan, np.inf, -201], np.float32)).any()
    assert NodeTrust(is_trained=False).make_sense(np.array([1e6, -1e6], np.float32)).all()


def test_groups_that_are_held_out_late_leave_memory_together() -> None:
    """The first at once, those after it when a part of the ring has come: memory is not gone through for each."""
    frames, target = corpus(), corpus().target("vmaf_phone")
    ring, reservoir, holdout = private_ring(capacity=1600), private_reservoir(), private_reservoir()
    training = OnlineTraining(base_model(), Recipe(), ring, reservoir, holdout, trust=NodeTrust())
    taken = 0

    def send(first: int, count: int, flags: int = 0) -> set[int]:
        """Have rows learned from; return the groups that are trained on."""
        nonlocal taken
        rows = rows_of(1, target[:count], frames.features[:count])
        rows.group[:], rows.flags[:], rows.key[:] = 8 * np.arange(first, first + count) + 1, flags, taken + 1
        taken += count
        ring.extend(rows)
        training.advance(count)
        return set((reservoir.snapshot().group // 8).tolist())

    learned_from = sorted(send(100, 60))
    first, *others = learned_from[-4:]
    assert first not in send(first, 1, HELD_OUT)
    for group in others:
        assert group in send(group, 1, HELD_OUT)
    left = send(300, 100)
    assert not left & {first, *others}
    assert left >= set(learned_from[:-4])
