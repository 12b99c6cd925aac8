"""What gets into a pool's ring."""

import numpy as np
import pytest

from pipeline.fleet.message import MOST_SENT, pack
from pipeline.ingest.dedup import name_hashes
from pipeline.ingest.names import Owners
from pipeline.intake.admission import Admission
from pipeline.intake.received import Received
from pipeline.intake.seen import SeenKeys
from pipeline.runtime import messages
from pipeline.runtime.control import Forgotten
from pipeline.runtime.messages import StreamPosition
from pipeline.shm.ring import Ring
from pipeline.shm.rows import HELD_OUT, RowBatch
from tests.support.rows import random_rows

NOW = 1.75e9


class Pool:
    """An admission with a ring of its own, and messages to it."""

    def __init__(self, quota: float = 20.0) -> None:
        self.ring, self.position, self.owners = Ring.private(10_000, 6), StreamPosition(), Owners()
        self.admission = Admission(
            self.ring, SeenKeys(10_000, np.zeros(0, np.uint64)), self.owners, self.position,
            tenant="default", target="true_score", quota=quota,
        )  # fmt: skip
        self.sequence = 0

    def message(self, data: bytes, node: str = "one", at: float = NOW) -> Received:
        """Return the next message of the stream."""
        self.sequence += 1
        return Received(self.sequence, at, node, data)

    def send(self, rows: RowBatch, node: str = "one", sent: int = 0, at: float = NOW, base: str = "b") -> RowBatch:
        """Send a message of rows; return what got into the ring."""
        data = pack(rows, base=base, target="true_score", sent=sent)
        return self.admission.admit([self.message(data, node, at)], "b")


def test_rows_come_in_with_the_node_that_the_server_let_speak() -> None:
    """Whatever they say themselves; content, group, job and the flag of held-out groups stay."""
    pool, rows = Pool(), random_rows(5, 6)
    rows.node[:], rows.tenant[:], rows.flags[:] = 666, 777, [0, HELD_OUT, 2, 3, 0xFFFFFFFF]
    taken = pool.send(rows, node="one")
    assert set(taken.node.tolist()) == {int(name_hashes(["one"])[0])}
    assert set(taken.tenant.tolist()) == {int(name_hashes(["default"])[0])}
    assert taken.flags.tolist() == [0, 1, 0, 1, 1]
    np.testing.assert_array_equal(taken.content, rows.content)
    assert (taken.group.tolist(), taken.job.tolist()) == (rows.group.tolist(), rows.job.tolist())
    assert pool.ring.head == 5


def test_a_row_that_comes_again_is_known() -> None:
    """From the same node, in whatever message; from another node it is another one."""
    pool, rows = Pool(), random_rows(5, 6)
    assert len(pool.send(rows)) == 5
    assert len(pool.send(rows.first(3))) == 0
    assert len(pool.send(rows, node="two")) == 5
    assert (pool.ring.head, pool.admission.resent) == (10, 3)


def test_no_node_keeps_anothers_rows_out() -> None:
    """A key that is made up is not looked at."""
    pool, rows = Pool(), random_rows(5, 6)
    forged = random_rows(5, 6, seed=1)
    forged.key[:] = rows.key
    pool.send(forged)
    assert len(pool.send(rows)) == 5


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda rows: rows.features.__setitem__((2, 3), np.nan), "not_a_sample"),
        (lambda rows: rows.features.__setitem__((2, 3), np.inf), "not_a_sample"),
        (lambda rows: rows.score.__setitem__(2, -1), "not_a_sample"),
        (lambda rows: rows.score.__setitem__(2, 100.5), "not_a_sample"),
        (lambda rows: rows.score.__setitem__(2, np.nan), "not_a_sample"),
        (lambda rows: rows.arrival.__setitem__(2, np.inf), "not_a_sample"),
    ],
)
def test_what_is_no_sample_stays_out_alone(spoil, reason: str) -> None:  # type: ignore[no-untyped-def]
    """The other rows of the message are taken."""
    pool, rows = Pool(), random_rows(5, 6)
    spoil(rows)
    assert len(pool.send(rows)) == 4
    assert pool.admission.rejected == {reason: 1}
    assert pool.position.senders["one"].refused == 1


def test_messages_that_do_not_fit_are_counted_and_passed_over() -> None:
    """Of another base model, another target, other features, or none at all; those after them are taken."""
    pool, rows = Pool(), random_rows(2, 6)
    wrong = [
        pack(rows, base="other", target="true_score", sent=0),
        pack(rows, base="b", target="ground_truth_score", sent=0),
        pack(random_rows(2, 7), base="b", target="true_score", sent=0),
        b"nonsense",
    ]
    right = pack(rows, base="b", target="true_score", sent=0)
    taken = pool.admission.admit([pool.message(data) for data in (*wrong, right)], "b")
    assert len(taken) == 2
    assert pool.admission.rejected == {"other_base": 1, "other_target": 1, "feature_count": 1, "not_a_message": 1}
    assert pool.position.read == 5


def test_a_node_has_its_quota_by_the_streams_time() -> None:
    """What waited in the stream while the pool was away is not too much; another node's is its own."""
    pool = Pool(quota=20.0)
    for number in range(20):
        pool.send(random_rows(256, 6, seed=number), at=NOW)
    assert pool.position.senders["one"].taken == 2400
    assert pool.position.senders["one"].over_quota == 20 * 256 - 2400
    assert len(pool.send(random_rows(256, 6, seed=100), at=NOW + 5)) == 100
    assert len(pool.send(random_rows(256, 6, seed=101), node="two", at=NOW)) == 256
    assert len(pool.send(random_rows(256, 6, seed=102), at=NOW - 3600)) == 0, "a clock that goes back gives nothing"


def test_a_clock_that_was_far_ahead_leaves_the_quota_as_it_is() -> None:
    """Of the server: nothing waits until that time comes, and no more is let in than was saved."""
    pool = Pool(quota=20.0)
    for number, hours in enumerate((0, 5, 0, -5, 0)):
        at, before = NOW + 3600 * hours, pool.position.senders.get("one")
        taken = before.taken if before else 0
        for message in range(12):
            pool.send(random_rows(256, 6, seed=100 * number + message), at=at)
        assert pool.position.senders["one"].taken - taken <= 2400
        assert len(pool.send(random_rows(256, 6, seed=100 * number + 50), at=at + 5)) == 100
    assert pool.position.senders["one"].taken == 3 * 2400 + 5 * 100, "a step forward is time, a step back is none"


def test_what_left_the_stream_unread_is_counted_by_the_senders_own_count() -> None:
    """A node of which nothing is known has lost nothing; one that begins anew neither."""
    pool = Pool()
    pool.send(random_rows(5, 6, seed=0), sent=1000)
    pool.send(random_rows(5, 6, seed=1), sent=1005)
    assert pool.position.senders["one"].lost == 0
    pool.send(random_rows(5, 6, seed=2), sent=1030)
    assert pool.position.senders["one"].lost == 20
    pool.send(random_rows(5, 6, seed=3), sent=0)
    assert pool.position.senders["one"].lost == 20


def test_no_sender_can_say_that_more_was_lost_than_it_may_send() -> None:
    """A count of losses that anybody can make as large as a number can be tells nobody anything."""
    pool = Pool()
    pool.send(random_rows(5, 6, seed=0), sent=10)
    pool.send(random_rows(5, 6, seed=1), sent=MOST_SENT - 1, at=NOW + 60)
    assert pool.position.senders["one"].lost == 2400 + 60 * 20
    assert messages.decode_position(messages.encode(pool.position)) == pool.position


def test_times_to_come_are_now() -> None:
    """Of a node whose clock is wrong."""
    pool, rows = Pool(), random_rows(2, 6)
    rows.arrival[:] = [1.7e9, 9e9]
    taken = pool.send(rows)
    assert taken.arrival[0] == 1.7e9
    assert taken.arrival[1] < 9e9


def test_what_was_forgotten_stays_out() -> None:
    """By job, and by the time at which a sidecar had it."""
    rows = random_rows(4, 6)
    rules = [Forgotten(job=int(rows.job[1])), Forgotten(until=1.7e9 + 1)]
    pool = Pool()
    pool.admission._tombstones.replace(rules)
    taken = pool.send(rows)
    assert taken.job.tolist() == rows.job[2:].tolist()
    assert pool.admission.forgotten == 2
