"""Keeps samples that were forgotten from coming back: what `forget` has left in the orders, applied to what arrives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.config import Settings
from pipeline.runtime import control, regions
from pipeline.runtime.control import Control, ControlError, Forgotten, Published
from pipeline.runtime.logs import Logger
from pipeline.shm.rows import RowBatch


class _Captured(msgspec.Struct):
    captured_at: Annotated[datetime, msgspec.Meta(tz=True)]


_decode = msgspec.json.Decoder(_Captured).decode


CapturedAt = Callable[[int], float | None]
"""Tells of a row, by its place, when it was captured, in Unix seconds; None where that is not known."""


class Tombstones:
    """Tells which samples are ones that were forgotten.

    A rule without a time covers what its names fit. One with a time covers of that what the node says it captured
    before, since a sample that arrives again arrives now. Without `captured_at` nobody can tell: it is covered where
    its names fit, and taken where the rule has no name but only a time.
    """

    def __init__(self, rules: Sequence[Forgotten] = ()) -> None:
        self.names: set[int] = set()
        self._by_name: dict[str, dict[int, list[Forgotten]]] = {}
        self._known: dict[str, NDArray[np.uint64]] = {}
        self._before = -np.inf
        self.replace(rules)

    def replace(self, rules: Sequence[Forgotten]) -> None:
        """Apply these rules from now on; `names` are the hashes of all that they name."""
        self._by_name, self._before = {}, -np.inf
        for rule in rules:
            column, name = next(((c, n) for c, n in rule.names() if n is not None), ("", 0))
            if column:
                self._by_name.setdefault(column, {}).setdefault(name or 0, []).append(rule)
            elif rule.until is not None:
                self._before = max(self._before, rule.until)
        self._known = {column: np.array(list(found), np.uint64) for column, found in self._by_name.items()}
        self.names = {name for rule in rules for _, name in rule.names() if name is not None}

    def covered(self, rows: RowBatch, captured: CapturedAt) -> NDArray[np.bool_] | None:
        """Tell which rows were forgotten, bool[n]; None for none. `captured` is asked of few rows, by place."""
        if not self._known and self._before == -np.inf:
            return None
        suspects = np.full(len(rows), self._before > -np.inf)
        for column, names in self._known.items():
            suspects |= np.isin(getattr(rows, column), names)
        places = np.flatnonzero(suspects).tolist()
        if not places:
            return None
        covered = np.zeros(len(rows), np.bool_)
        covered[[place for place in places if self._covers(rows, place, captured)]] = True
        return covered if covered.any() else None

    def _covers(self, rows: RowBatch, place: int, captured: CapturedAt) -> bool:
        found = [
            rule
            for column, rules in self._by_name.items()
            for rule in rules.get(int(getattr(rows, column)[place]), ())
            if all(name in (None, int(getattr(rows, c)[place])) for c, name in rule.names())
        ]
        if any(rule.until is None for rule in found):
            return True
        at = captured(place)
        if at is None:
            return bool(found)
        return at < max([self._before, *(rule.until for rule in found if rule.until is not None)])


def of_lines(blocks: Sequence[bytes]) -> CapturedAt:
    """Return what tells of the rows that were made of these blocks of lines when they were captured."""
    lines: list[bytes] = []

    def captured(place: int) -> float | None:
        if not lines:
            lines.extend(b"\n".join(blocks).split(b"\n"))
        return _captured(lines[place])

    return captured


def _captured(line: bytes) -> float | None:
    """Return when a sample was captured, in Unix seconds; None where the node does not say it as RFC 3339."""
    if b"captured_at" not in line:
        return None
    try:
        return _decode(line).captured_at.timestamp()
    except (msgspec.MsgspecError, UnicodeDecodeError, OverflowError, ValueError, RecursionError):
        return None


class Follower:
    """Keeps tombstones as the orders have them: from the region; at a start without one, from the file.

    Where the file cannot be read, samples are taken without them until the region is there: the nodes' samples are
    worth more than the chance that a forgotten one arrives just then.
    """

    def __init__(self, settings: Settings, log: Logger) -> None:
        self._mailbox = regions.MailboxFollower(settings, control.REGION)
        self._log = log
        self.tombstones = Tombstones()
        if not self._mailbox.attach():
            try:
                self._take(control.read(settings.state_dir).control)
            except ControlError as error:
                log.error("orders_unreadable", reason=str(error))
        self.refresh()

    def refresh(self) -> None:
        """Take in newer orders, if there are any."""
        newest = self._mailbox.newer()
        if newest is None:
            return
        try:
            self._take(msgspec.msgpack.decode(newest.payload, type=Published).control)
        except msgspec.MsgspecError as error:  # of another release
            self._log.error("orders_unreadable", reason=str(error))

    def _take(self, orders: Control) -> None:
        self.tombstones.replace(orders.forgotten)
