"""How far a pool has read, and what is known of those who send to it."""

from pipeline.intake.position import SENDERS, PublishedPosition
from pipeline.runtime import messages
from pipeline.runtime.messages import Sender, StreamPosition
from pipeline.shm.mailbox import Mailbox

_CAPACITY = 1 << 20


def test_counts_outlast_the_list_of_senders() -> None:
    """The longest silent leave it; a total never falls."""
    senders = {f"n{number}": Sender(lost=number, over_quota=1, at=number) for number in range(SENDERS + 3)}
    position = StreamPosition(senders=senders)
    lost = position.total("lost")
    mailbox = Mailbox(memoryview(bytearray(Mailbox.size(_CAPACITY))), _CAPACITY)
    PublishedPosition(mailbox, position).publish()
    read = messages.decode_position(mailbox.payload() or b"")
    assert len(read.senders) == SENDERS
    assert "n2" not in read.senders
    assert (read.total("lost"), read.total("over_quota")) == (lost, SENDERS + 3)
