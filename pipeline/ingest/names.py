"""Whose a sample is, as its row says it: hashes of the names of node, tenant and codec, and the picture's height.

As many names of each kind as there is room for are remembered, the first that come, so that people can be shown them;
the rows of others hold their hash all the same. What a terminal or a page could not show as it is is not remembered.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.ingest.dedup import name_hashes
from pipeline.runtime import messages
from pipeline.runtime.messages import Names

KINDS = ("node", "tenant", "codec")
GROUP = "group"
PER_KIND = 256
LONGEST_BYTES = 64
CAPACITY = (len(KINDS) + 1) * PER_KIND * (LONGEST_BYTES + 16)
"""Bytes of `messages.Names` at their fullest."""
_OWNERS = 4096
_LONGEST_KEPT = 256
"""Owners with a longer name than this are not kept, or what clients send could fill the memory."""

Owner = tuple[object, object, object, object]
"""What a message says of node, tenant, codec and height, of whatever type."""


class Owners:
    """Makes of what messages say what rows hold, and remembers the names.

    Hashes in `unnamed` stay without a name.

    The same few owners come again and again, so what is made of each is kept: one look-up a sample.
    """

    def __init__(self, saved: bytes = b"") -> None:
        """Start from what `encoded` gave; from nothing where this release cannot read it."""
        try:
            names = messages.decode_names(saved) if saved else Names()
        except msgspec.MsgspecError:
            names = Names()
        self._names = {kind: dict(list(getattr(names, kind).items())[:PER_KIND]) for kind in (*KINDS, GROUP)}
        self.unnamed: set[int] = set()
        self._places: dict[Owner, int] = {}
        self._cells = np.zeros((_OWNERS, len(KINDS) + 1), np.uint64)
        self.is_news = False

    def cells(self, owners: Sequence[Owner]) -> NDArray[np.uint64]:
        """Return uint64[n, 4]: the hashes of node, tenant and codec, and the height; 0 for what is none."""
        try:
            return self._cells[list(map(self._places.__getitem__, owners))]
        except (KeyError, TypeError):  # a new one, or one that no key can be made of
            return np.array([self._cell(owner) for owner in owners], np.uint64)

    def groups(self, sources: Sequence[str]) -> NDArray[np.uint64]:
        """Return the groups of the sources, uint64[n]: the hashes of their names."""
        hashes = name_hashes(sources)
        if len(self._names[GROUP]) < PER_KIND:
            for value, name in set(zip(hashes.tolist(), sources, strict=True)):
                self._remember(GROUP, value, name)
        return hashes

    def encoded(self) -> bytes:
        """Return all remembered names, as the region `names` holds them; none of them is news then."""
        self.is_news = False
        return messages.encode(Names(**self._names))

    def _cell(self, owner: Owner) -> NDArray[np.uint64]:
        cell = np.array([*map(self._hash, KINDS, owner), _height(owner[-1])], np.uint64)
        if any(isinstance(name, str) and len(name) > _LONGEST_KEPT for name in owner):
            return cell
        if len(self._places) == _OWNERS:
            self._places.clear()
        try:
            place = self._places.setdefault(owner, len(self._places))
        except TypeError:
            return cell
        self._cells[place] = cell
        return cell

    def _hash(self, kind: str, name: object) -> int:
        if not isinstance(name, str) or not name:
            return 0
        value = int(name_hashes([name])[0])
        self._remember(kind, value, name)
        return value

    def _remember(self, kind: str, value: int, name: str) -> None:
        names = self._names[kind]
        if value in self.unnamed:
            return
        if value in names or len(names) >= PER_KIND or not name.isprintable() or len(name.encode()) > LONGEST_BYTES:
            return
        names[value] = name
        self.is_news = True


def _height(value: object) -> int:
    """Return a height in lines; 0 for what is none."""
    if not isinstance(value, int | float) or not 0 < value < 2**32 or value != int(value):
        return 0
    return int(value)
