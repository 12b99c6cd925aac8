"""The latest-value cell: readers get one whole value, the newest; a dead writer leaves the last one readable."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.shm.mailbox import Mailbox, Torn, Versioned
from tests.shm.mailbox_writer import value
from tests.support.processes import attached, running
from tests.support.waiting import eventually

CAPACITY = 100_000


def private(capacity: int) -> Mailbox:
    """Return a mailbox in this process's own memory."""
    return Mailbox(memoryview(bytearray(Mailbox.size(capacity))), capacity)


def box_of_the_writer(name: str) -> Mailbox:
    """Attach to the writer's mailbox once it is there and has a value."""
    box = Mailbox(attached(name, "mailbox").body, CAPACITY)
    assert eventually(lambda: box.version)
    return box


def test_empty_before_the_first_value() -> None:
    """Nothing is not the same as an empty value."""
    box = private(10)
    assert (box.read(), box.version) == (None, 0)
    box.publish(b"")
    assert box.read() == Versioned(1, b"")


@given(st.lists(st.lists(st.binary(max_size=20), max_size=4), min_size=1, max_size=10))
def test_the_latest_value_is_read(values: list[list[bytes]]) -> None:
    """A value is the concatenation of its parts; the newest one counts, under its number."""
    box = private(80)
    for parts in values:
        box.publish(*parts)
    assert box.read() == Versioned(len(values), b"".join(values[-1]))


def test_arrays_are_parts_too() -> None:
    """Weights go in as they lie."""
    box = private(100)
    box.publish(b"head", np.arange(3, dtype=np.float32))
    letter = box.read()
    assert letter is not None
    assert letter.payload == b"head" + np.arange(3, dtype=np.float32).tobytes()


def test_a_value_that_does_not_fit_is_refused_and_the_old_one_stays() -> None:
    """The error says how large it is and how much there is room for."""
    box = private(10)
    box.publish(b"old")
    with pytest.raises(ValueError, match="11 bytes exceeds the mailbox's 10"):
        box.publish(b"x" * 11)
    assert box.read() == Versioned(1, b"old")


def test_no_mixture_is_read_while_the_writer_publishes(segment_name: str) -> None:
    """Each of hundreds of values is whole, though slots are overwritten under the reader; versions never go back."""
    seen = disturbed = last = 0
    with running("tests.shm.mailbox_writer", segment_name, str(CAPACITY)):
        box = box_of_the_writer(segment_name)
        until = time.monotonic() + 20
        while (seen < 300 or not disturbed) and time.monotonic() < until:
            letter = box.read()
            assert letter is not None
            assert letter.version >= last
            assert letter.payload == value(letter.version, CAPACITY)
            seen += letter.version != last
            disturbed += box.version > letter.version
            last = letter.version
    assert seen >= 300
    assert disturbed > 0


def test_a_writer_killed_while_writing_leaves_a_whole_value(segment_name: str) -> None:
    """SIGKILL several times: what is read is whole, and the next writer's versions are higher."""
    last = 0
    for _ in range(5):
        with running("tests.shm.mailbox_writer", segment_name, str(CAPACITY)) as writer:
            box = box_of_the_writer(segment_name)
            assert eventually(lambda box=box, before=last: box.version >= before + 20)  # type: ignore[misc]
            writer.kill()
            writer.wait()
        letter = box.read()
        assert letter is not None
        assert letter.version > last
        assert letter.payload == value(letter.version, CAPACITY)
        last = letter.version


def test_spoilt_memory_is_reported_as_torn() -> None:
    """A flipped bit in the newest value is found by the checksum."""
    memory = bytearray(Mailbox.size(100))
    box = Mailbox(memoryview(memory), 100)
    box.publish(b"some value that is worth protecting")
    memory[memory.index(b"worth")] ^= 1
    with pytest.raises(Torn):
        box.read()
