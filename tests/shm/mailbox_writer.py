"""A process that publishes self-verifying values without pause until its standard input is closed.

Run as `python -m tests.shm.mailbox_writer SEGMENT CAPACITY`.
"""

import select
import sys

from pipeline.shm import segment
from pipeline.shm.mailbox import Mailbox
from pipeline.shm.segment import Layout


def value(version: int, capacity: int) -> bytes:
    """Return the value of a version: of a length of its own, the version's bytes repeated."""
    return (version.to_bytes(8, "little") * (capacity // 8))[: capacity - version % 1000]


def write(name: str, capacity: int) -> None:
    """Publish one value after another."""
    found, _ = segment.attach_or_create(name, Layout("mailbox", (capacity,), Mailbox.size(capacity)))
    box = Mailbox(found.body, capacity)
    while not select.select([sys.stdin], [], [], 0)[0]:
        box.publish(value(box.version + 1, capacity))


if __name__ == "__main__":
    write(sys.argv[1], int(sys.argv[2]))
