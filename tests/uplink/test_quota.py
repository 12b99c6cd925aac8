"""How many samples are shared, and which."""

import numpy as np

from pipeline.shm.rows import RowBatch
from pipeline.uplink.quota import Quota, spread
from tests.support.rows import random_rows


def of_groups(*sizes: int) -> RowBatch:
    """Return rows of groups of these sizes, mixed."""
    rows = random_rows(sum(sizes), 6)
    groups = np.repeat(np.arange(len(sizes), dtype=np.uint64), sizes)
    rows.group[:] = np.random.default_rng(0).permutation(groups)
    return rows


def test_every_group_is_chosen_from_alike() -> None:
    """A group of few rows gives all of them, the others share the rest."""
    rows = of_groups(1000, 100, 3, 1)
    counts = np.bincount(rows.select(spread(rows, 64)).group.astype(int))
    assert counts.tolist() == [30, 30, 3, 1]


def test_the_choice_depends_on_the_rows_alone() -> None:
    """In whatever order they come; and there are never more than asked for, or than there are."""
    rows = of_groups(50, 50)
    turned = rows.select(np.arange(len(rows))[::-1])
    chosen = set(rows.select(spread(rows, 20)).key.tolist())
    assert chosen == set(turned.select(spread(turned, 20)).key.tolist())
    assert len(chosen) == 20
    assert spread(rows, 1000).all()
    assert not spread(rows, 0).any()


def test_a_quota_is_kept_for_a_minute_and_no_longer() -> None:
    """At least a message's worth is kept, however low it is."""
    now = [0.0]
    quota = Quota(20.0, 5000, lambda: now[0])
    assert quota.left() == 0
    now[0] = 1.6
    assert quota.left() == 32
    quota.use(32)
    assert quota.left() == 0
    now[0] += 3600
    assert quota.left() == 1200
    slow = Quota(1.0, 5000, lambda: now[0])
    now[0] += 3600
    assert slow.left() == 256


def test_samples_wait_for_their_turn_and_only_what_is_too_much_is_left_out() -> None:
    """A minute's worth waits, or half a ring where that is less; what is more is chosen from."""
    quota = Quota(20.0, 5000)
    assert quota.window(behind=1200, allowed=32, most=256) == 32
    assert quota.window(behind=1200, allowed=900, most=256) == 256
    assert quota.window(behind=4400, allowed=32, most=256) == 3200
    assert quota.window(behind=4400, allowed=1024, most=256) == 800
    assert quota.window(behind=1201, allowed=1200, most=256) == 256
    assert Quota(20.0, 500).window(behind=700, allowed=32, most=256) == 200
