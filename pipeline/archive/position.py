"""How far the archive is: a small file beside the samples, written once all files of a batch are there.

So a start that finds only some files of a batch reads the whole batch again, and leaves out what it finds archived.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from pipeline.runtime.durable import open_regular, write_durably

FILE = ".position.json"
_GAPS = 20


class Gap(msgspec.Struct, frozen=True):
    """Samples `first` to `last` of a ring that the ring of bytes had lost when they were asked for, and when that was.

    They may be of the ring before, of which it is not known how many it had.
    """

    ring: int
    first: int
    last: int
    noticed: str


class Position(msgspec.Struct, frozen=True):
    """Everything before `offset` of the ring of bytes `buffer`, and before `next` of the ring of samples, is done.

    `archived` and `missed` count samples since the beginning; `gaps` are the newest.
    """

    buffer: int = 0
    offset: int = 0
    ring: int = 0
    next: int = 0
    archived: int = 0
    missed: int = 0
    gaps: tuple[Gap, ...] = ()

    def with_gap(self, gap: Gap) -> Position:
        """Return the position with samples that are lost."""
        missed = self.missed + gap.last - gap.first + 1
        return msgspec.structs.replace(self, missed=missed, gaps=(*self.gaps, gap)[-_GAPS:])


def read(root: Path) -> Position | None:
    """Return how far the archive in `root` is; None where nothing is there. Raises OSError or msgspec.MsgspecError."""
    try:
        with open_regular(root / FILE) as file:
            return msgspec.json.decode(file.read(), type=Position)
    except FileNotFoundError:
        return None


def write(root: Path, position: Position) -> None:
    """Replace the file, durably. Raises OSError."""
    write_durably(root / FILE, msgspec.json.encode(position), mode=0o600)
