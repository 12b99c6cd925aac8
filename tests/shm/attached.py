"""A process that attaches to a segment, reads a byte, says so, and waits; for any bare Python interpreter.

Run as `python tests/shm/attached.py REPOSITORY SEGMENT`. Ends when its standard input does.
"""

import sys

sys.path.insert(0, sys.argv[1])

from pipeline.shm import segment

found = segment.attach(sys.argv[2], "test")
print(found.body[0], flush=True)  # noqa: T201  the parent waits for it
sys.stdin.read()
