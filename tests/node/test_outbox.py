"""The outbox against the simplest model of it: a list, and what is on the wire."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.node.message import Message
from pipeline.node.outbox import Outbox

CAPACITY = 5

Operation = st.one_of(
    st.just("put"),
    st.just("accepted"),
    st.just("refused"),
    st.just("cut"),
    st.integers(1, CAPACITY + 1),  # take, with this window
)


@given(st.lists(Operation, max_size=60))
def test_order_and_counts_hold_whatever_happens(operations: list[str | int]) -> None:
    """Messages are written in their order, again after every cut, and each is counted exactly once."""
    outbox, waiting, on_the_wire, offered = Outbox(CAPACITY), list[str](), 0, 0
    for operation in operations:
        if operation == "put":
            job = str(offered)
            offered += 1
            assert outbox.put(Message(job, b"")) == (len(waiting) < CAPACITY)
            waiting += [job] if len(waiting) < CAPACITY else []
        elif operation == "cut":
            outbox.rewind()
            on_the_wire = 0
        elif isinstance(operation, int) and waiting:
            taken = [message.job_id for message in outbox.take(operation)]
            assert taken == waiting[on_the_wire:operation]
            on_the_wire += len(taken)
        elif operation in {"accepted", "refused"} and on_the_wire:
            awaited = outbox.awaited()
            assert awaited is not None
            assert awaited.job_id == waiting.pop(0)
            outbox.settle(ok=operation == "accepted")
            on_the_wire -= 1
        assert len(outbox) == len(waiting)
        assert outbox.delivered + outbox.rejected + outbox.dropped + len(outbox) == offered
    outbox.close()
    assert outbox.delivered + outbox.rejected + outbox.dropped == offered
    assert outbox.take(CAPACITY) == []


def test_nothing_is_awaited_when_nothing_is_on_the_wire() -> None:
    """A message that was never written, or whose connection was cut, has no answer to come."""
    outbox = Outbox(CAPACITY)
    outbox.put(Message("a", b""))
    assert outbox.awaited() is None
    outbox.take(1)
    assert outbox.awaited() == Message("a", b"")
    outbox.rewind()
    assert outbox.awaited() is None
