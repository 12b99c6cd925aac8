"""supervisord's listener protocol, as its documentation shows it, over real pipes."""

import os
from collections.abc import Iterator

import pytest

from pipeline.monitor.events import EventStream

_EXITED = b"processname:trainer groupname:trainer from_state:RUNNING expected:0 pid:2766"


def _message(name: bytes, payload: bytes) -> bytes:
    header = b"ver:3.0 server:supervisor serial:21 pool:monitor poolserial:10 eventname:%s len:%d\n"
    return header % (name, len(payload)) + payload


@pytest.fixture
def pipes() -> Iterator[tuple[int, int, int, int]]:
    """Give the ends of two pipes: to the listener (read, write), and from it."""
    ends = (*os.pipe(), *os.pipe())
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue


def test_events_are_read_whole_and_acknowledged(pipes: tuple[int, int, int, int]) -> None:
    """An event that arrives byte by byte is given once, when it is whole, and acknowledged once."""
    source, to_listener, from_listener, sink = pipes
    stream = EventStream(source, sink)
    assert os.read(from_listener, 100) == b"READY\n"
    message = _message(b"PROCESS_STATE_EXITED", _EXITED)
    for i in range(len(message) - 1):
        os.write(to_listener, message[i : i + 1])
        assert stream.poll(0) is None
    os.write(to_listener, message[-1:])
    event = stream.poll(0)
    assert event is not None
    assert (event.name, event.payload["processname"], event.payload["pid"]) == (
        "PROCESS_STATE_EXITED",
        "trainer",
        "2766",
    )
    assert os.read(from_listener, 100) == b"RESULT 2\nOKREADY\n"


def test_several_events_in_one_read(pipes: tuple[int, int, int, int]) -> None:
    """What came together is given one by one, without waiting for more."""
    source, to_listener, _, sink = pipes
    stream = EventStream(source, sink)
    os.write(to_listener, _message(b"TICK_5", b"when:1") + _message(b"PROCESS_STATE_EXITED", _EXITED))
    names = [event.name for event in (stream.poll(0), stream.poll(0)) if event]
    assert names == ["TICK_5", "PROCESS_STATE_EXITED"]
    assert stream.poll(0) is None


def test_the_end_of_the_supervisor_is_noticed(pipes: tuple[int, int, int, int]) -> None:
    """When the supervisor goes, `ended` says so."""
    source, to_listener, _, sink = pipes
    stream = EventStream(source, sink)
    os.close(to_listener)
    assert stream.poll(1.0) is None
    assert stream.ended
