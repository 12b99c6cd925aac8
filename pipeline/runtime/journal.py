"""The newest log events of each process, in shared memory: what the page and `vmafx-sidecar logs` show.

One mailbox per role, written by that role alone: JSON lines, oldest first, as many as fit. They stay when their writer
ends; new events replace the oldest ones.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from typing import Any

import msgspec

from pipeline.config import Settings
from pipeline.runtime import regions
from pipeline.runtime.reports import ROLES
from pipeline.shm import segment
from pipeline.shm.mailbox import Mailbox, Torn
from pipeline.shm.segment import Layout

KIND = "journal"
CAPACITY = 16384
"""Bytes of events kept of each role."""

_LONGEST_TEXT = 1000
_LONGEST_EVENT = 4096


def _layout() -> Layout:
    return Layout(KIND, (len(ROLES), CAPACITY), len(ROLES) * Mailbox.size(CAPACITY))


class Journal:
    """The events of one role, as their writer. Threads may share it."""

    def __init__(self, box: Mailbox) -> None:
        self._box = box
        self._lines = deque(_lines(box))
        self._size = sum(len(line) + 1 for line in self._lines)
        self._lock = threading.Lock()

    def add(self, event: Mapping[str, Any]) -> None:
        """Append an event, and forget the oldest ones that no longer fit."""
        line = _encode(event)
        with self._lock:
            self._lines.append(line)
            self._size += len(line) + 1
            while self._size > CAPACITY:
                self._size -= len(self._lines.popleft()) + 1
            self._box.publish(b"\n".join(self._lines))


class Journals:
    """The journal region."""

    def __init__(self, body: memoryview) -> None:
        size = Mailbox.size(CAPACITY)
        self._boxes = {role: Mailbox(body[i * size : (i + 1) * size], CAPACITY) for i, role in enumerate(ROLES)}

    def writer(self, role: str) -> Journal:
        """Return the journal of `role`, for that role's process alone."""
        return Journal(self._boxes[role])

    def box(self, role: str) -> Mailbox:
        """Return the mailbox of `role`."""
        return self._boxes[role]

    @property
    def version(self) -> int:
        """Number of events ever written."""
        return sum(box.version for box in self._boxes.values())

    def newest(self, count: int) -> list[dict[str, Any]]:
        """Return the newest events of all roles together, oldest first."""
        events = [msgspec.json.decode(line) for box in self._boxes.values() for line in _lines(box)]
        return sorted(events, key=lambda event: str(event.get("timestamp")))[-count:]


def open_journals(settings: Settings) -> Journals:
    """Attach to the journal region, making it where there is none."""
    made, _ = segment.attach_or_create(regions.name(settings.instance_name, KIND), _layout())
    return Journals(made.body)


def attach_journals(instance: str) -> Journals:
    """Attach to the journal region of a sidecar. Raises SegmentError where there is none."""
    layout = _layout()
    return Journals(segment.attach(regions.name(instance, KIND), layout.kind, layout.shape).body)


def _lines(box: Mailbox) -> list[bytes]:
    try:
        letter = box.read()
    except Torn:
        return []
    return letter.payload.splitlines() if letter else []


def _encode(event: Mapping[str, Any]) -> bytes:
    line = msgspec.json.encode({key: _plain(value) for key, value in event.items()})
    if len(line) > _LONGEST_EVENT:
        kept = {key: _plain(event[key]) for key in ("timestamp", "level", "role", "event") if key in event}
        line = msgspec.json.encode(kept | {"shortened": True})
    return line


def _plain(value: Any) -> Any:
    """Return what JSON can hold: numbers as they are, all else as text, of which nothing is too long or not UTF-8."""
    if value is None or isinstance(value, int | float):
        return value
    return str(value)[:_LONGEST_TEXT].encode("utf-8", "backslashreplace").decode()
