"""Waits until something changes in a directory, at no cost while nothing does: inotify, and a signal ends the wait."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import struct
from pathlib import Path
from typing import Self

_MODIFY, _CLOSE_WRITE, _MOVED_TO, _CREATE, _OVERFLOW = 0x2, 0x8, 0x80, 0x100, 0x4000
_EVENT = struct.Struct("iIII")
_ALL_MS = 60_000
"""Milliseconds after which everything is looked at again: a network file system tells nothing of other machines."""

_libc = ctypes.CDLL(None, use_errno=True)


class Changes:
    """The names of files in `directory` that were written to; to be used on the main thread."""

    def __init__(self, directory: Path) -> None:
        self._fd = _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), directory)
        mask = _MODIFY | _CLOSE_WRITE | _MOVED_TO | _CREATE
        try:
            _checked(_libc.inotify_add_watch(self._fd, os.fsencode(directory), mask), directory)
        except OSError:
            os.close(self._fd)
            raise
        self._signalled, self._signal = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._before = signal.set_wakeup_fd(self._signal, warn_on_full_buffer=False)
        self._poll = select.poll()
        for fd in (self._fd, self._signalled):
            self._poll.register(fd, select.POLLIN)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._before)
        for fd in (self._fd, self._signalled, self._signal):
            os.close(fd)

    def wait(self, seconds: float | None) -> set[str] | None:
        """Wait for a change, `seconds` at most; return the names. None: any file may have changed."""
        limit = _ALL_MS if seconds is None else min(_ALL_MS, int(1000 * seconds) + 1)
        if not self._poll.poll(limit):
            return None if limit == _ALL_MS else set()
        return self._names()

    def _names(self) -> set[str] | None:
        names: set[str] = set()
        try:
            events = os.read(self._fd, 1 << 16)
        except BlockingIOError:  # a signal
            return names
        at = 0
        while at < len(events):
            _, mask, _, length = _EVENT.unpack_from(events, at)
            if mask & _OVERFLOW:
                return None
            at += _EVENT.size + length
            names.add(os.fsdecode(events[at - length : at].rstrip(b"\0")))
        return names


def _checked(result: int, directory: Path) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(directory))
    return result
