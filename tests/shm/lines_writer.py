"""A process that writes self-verifying records as fast as it can until its standard input is closed.

Run as `python -m tests.shm.lines_writer SEGMENT CAPACITY SEALING`.
"""

import select
import sys

from pipeline.shm import segment
from pipeline.shm.byte_ring import ByteRing, Origin, Record

RING = 7


def lines_of(first: int) -> list[bytes]:
    """Return the lines of the record that begins with sequence `first`: each tells its own, some are long."""
    count = 1 + first % 13
    return [b"%d %s" % (first + i, b"x" * ((first + i) * 37 % 400)) for i in range(count)]


def intact(record: Record) -> bool:
    """Whether a record is as it was written."""
    origin = record.origin
    whole = origin == Origin(RING, origin.first, float(origin.first), 2 * origin.first, 3 * origin.first)
    return whole and record.lines == lines_of(origin.first)


def write(ring: ByteRing, first: int) -> int:
    """Write the record that begins with sequence `first`; return where the next one does."""
    lines = lines_of(first)
    ring.prepare(Origin(RING, first, float(first), 2 * first, 3 * first), len(lines), b"\n".join(lines))
    ring.commit()
    return first + len(lines)


def run(name: str, capacity: int, *, sealing: bool) -> None:
    """Write records, each published at once, until nobody holds the other end of standard input."""
    found, _ = segment.attach_or_create(name, ByteRing.layout(capacity))
    ring = ByteRing(found.body, capacity)
    ring.open_writer(sealing=sealing)
    first = 0
    while not select.select([sys.stdin], [], [], 0)[0]:
        for _ in range(100):
            first = write(ring, first)


if __name__ == "__main__":
    run(sys.argv[1], int(sys.argv[2]), sealing=sys.argv[3] == "True")
