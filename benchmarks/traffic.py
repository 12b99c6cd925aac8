"""Messages as nodes send them."""

from __future__ import annotations

import json
import random
import time

import numpy as np

from pipeline.shm.rows import RowBatch


def message(number: int, n_features: int, rng: random.Random) -> bytes:
    """Return one message with the fields that every node sends; 790 bytes at 80 features, 132 at 6."""
    body = {
        "job_id": f"{number:032x}",
        "features": [round(rng.random(), 6) for _ in range(n_features)],
        "true_score": round(rng.uniform(20, 100), 3),
    }
    return json.dumps(body, separators=(",", ":")).encode() + b"\n"


def messages(count: int, n_features: int, seed: int = 0) -> list[bytes]:
    """Return `count` different messages. Sent again and again, they are new once the sidecar has forgotten them."""
    rng = random.Random(seed)
    return [message(seed * count + i, n_features, rng) for i in range(count)]


def rows(count: int, n_features: int, seed: int = 0) -> RowBatch:
    """Return `count` different samples as rows, of twenty groups."""
    rng = np.random.default_rng(seed)
    made = RowBatch(count, n_features)
    made.features[:] = rng.random((count, n_features))
    made.score[:] = 20 + 80 * rng.random(count)
    made.group[:] = rng.integers(1, 21, count)
    made.job[:] = rng.integers(1, 2**63, count)
    made.arrival[:] = time.time()
    return made


def of_other_jobs(lines: list[bytes], number: int) -> list[bytes]:
    """Return the same messages with other jobs, for each `number` others: so none is taken for a resend."""
    begin, digits = b'{"job_id":"', b"%08x" % number
    return [begin + digits + line[len(begin) + len(digits) :] for line in lines]
