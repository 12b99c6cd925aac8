"""supervisord's event listener protocol: events on standard input, acknowledgements on standard output.

http://supervisord.org/events.html
"""

from __future__ import annotations

import os
import select
from typing import NamedTuple

from pipeline.shm.bell import Bell


class Event(NamedTuple):
    """One event: its name, and the tokens of its payload (processname, pid, expected, …)."""

    name: str
    payload: dict[str, str]


class EventStream:
    """Non-blocking reader of events over two descriptors. `bell`, where given, ends a wait as an event does."""

    def __init__(self, source: int = 0, sink: int = 1, bell: Bell | None = None) -> None:
        self._source, self._sink = source, sink
        self._buffer = b""
        self.ended = False
        self._readable = select.poll()
        self._readable.register(source, select.POLLIN)
        self._bell = bell
        if bell is not None:
            self._readable.register(bell.fd, select.POLLIN)
        os.write(sink, b"READY\n")

    def poll(self, timeout: float) -> Event | None:
        """Return the next event, waiting up to `timeout` seconds; None where there is none. Sets `ended` at the end."""
        event = self._parse()
        if event is None and any(fd == self._source for fd, _ in self._wait(timeout)):
            chunk = os.read(self._source, 65536)
            self.ended = not chunk
            self._buffer += chunk
            event = self._parse()
        if event is not None:
            os.write(self._sink, b"RESULT 2\nOKREADY\n")
        return event

    def _wait(self, timeout: float) -> list[tuple[int, int]]:
        ready = self._readable.poll(timeout * 1000)
        if self._bell is not None:
            self._bell.silence()
        return ready

    def _parse(self) -> Event | None:
        header, newline, rest = self._buffer.partition(b"\n")
        if not newline:
            return None
        tokens = _tokens(header)
        length = int(tokens["len"])
        if len(rest) < length:
            return None
        self._buffer = rest[length:]
        return Event(tokens["eventname"], _tokens(rest[:length].partition(b"\n")[0]))


def _tokens(line: bytes) -> dict[str, str]:
    return dict(pair.split(":", 1) for pair in line.decode("utf-8", "replace").split() if ":" in pair)
