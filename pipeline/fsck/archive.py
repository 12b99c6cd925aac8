"""The archive: every file is whole and holds what its name says, no sample is in two, and what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import msgspec

from pipeline.archive import names, position
from pipeline.archive.names import Part
from pipeline.fsck.finding import Finding
from pipeline.runtime.extras import lacking

_TOLD = 3


def check(root: Path) -> Iterator[Finding]:
    """Look at everything in an archive. Raises OSError where it cannot be read."""
    parts = list(names.parts(root))
    if missing := lacking("archive", "to look into files of the archive"):
        yield Finding("archive", True, f"{len(parts):,} files, not looked into: {missing}")
    else:
        faults = [fault for part in parts if (fault := _fault(part))] + list(_overlaps(parts))
        more = f"; and {len(faults) - _TOLD:,} more" if len(faults) > _TOLD else ""
        told = "; ".join(faults[:_TOLD]) + more
        yield Finding("archive", not faults, told or f"{len(parts):,} files, all whole, no sample twice")
    yield _position(root)


def _fault(part: Part) -> str:
    """Say what is wrong with a file; one that retention has removed meanwhile is in order."""
    from pipeline.archive import table

    try:
        found = table.sequences(part.path)
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        return f"{part.path.name}: {error}"
    ring, first, last = found
    if ring == part.ring and part.first <= first <= last <= part.last:  # some may have been forgotten
        return ""
    return f"{part.path.name}: holds samples {first:,} to {last:,} of ring {ring:x}"


def _overlaps(parts: list[Part]) -> Iterator[str]:
    in_order = sorted(parts, key=lambda part: (part.path.parent, part.ring, part.first))
    for one, other in pairwise(in_order):
        if (one.path.parent, one.ring) == (other.path.parent, other.ring) and other.first <= one.last:
            yield f"{one.path.name} and {other.path.name} hold the same samples"


def _position(root: Path) -> Finding:
    try:
        reached = position.read(root)
    except (OSError, msgspec.MsgspecError) as error:
        return Finding(position.FILE, False, str(error))
    if reached is None:
        return Finding(position.FILE, True, "nothing archived yet")
    detail = f"{reached.archived:,} samples archived, {reached.missed:,} missed"
    if reached.gaps:
        gap = reached.gaps[-1]
        detail += f", the newest {gap.first:,} to {gap.last:,}, before {gap.noticed}"
    return Finding(position.FILE, True, detail)
