"""A process that writes self-verifying rows as fast as it can until its standard input is closed.

Run as `python -m tests.shm.ring_writer SEGMENT CAPACITY SEALING`.
"""

import select
import sys

from pipeline.shm import segment
from pipeline.shm.ring import Ring
from tests.support.rows import N_FEATURES
from tests.support.rows import write as write_rows

_BURST = 200


def write(name: str, capacity: int, *, sealing: bool) -> None:
    """Write bursts of rows, each published at once, until nobody holds the other end of standard input."""
    found, _ = segment.attach_or_create(name, Ring.layout(capacity, N_FEATURES))
    ring = Ring(found.body, capacity, N_FEATURES)
    ring.open_writer(sealing=sealing)
    if not ring.identity:
        ring.begin()
    while not select.select([sys.stdin], [], [], 0)[0]:
        write_rows(ring, _BURST)


if __name__ == "__main__":
    write(sys.argv[1], int(sys.argv[2]), sealing=sys.argv[3] == "True")
