"""Coverage-guided fuzzing of the path from bytes to rows: `make fuzz`, or `python -m tests.hostile.fuzz_wire DIR`.

The input's first byte says how the rest is cut into pieces. Whatever it is: nothing is raised, each line that is not
empty gets exactly one answer of strict JSON, and what is in the ring is finite and in range.
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["pipeline.ingest", "pipeline.protocol"]):
    from pipeline.ingest.admission import Admission
    from pipeline.ingest.dedup import Deduplicator
    from pipeline.ingest.framing import Framer
    from pipeline.protocol import accepted_prefix

import numpy as np

from pipeline.shm.ring import Ring

_LIMIT = 4096
_PREFIX = accepted_prefix(7, trained=True, loss=0.5)
_INPUTS = Path(__file__).with_name("inputs")


def one_input(data: bytes) -> None:
    """Run one input through framing, decoding and the ring."""
    piece, stream = data[0] + 1 if data else 1, data[1:]
    ring, framer = Ring.private(64, 2), Framer(_LIMIT)
    admission = Admission(ring, Deduplicator(64, []), _LIMIT)
    answers = b""
    for start in range(0, len(stream), piece):
        answers += admission.admit([framer.feed(stream[start : start + piece])], _PREFIX)[0]
    lines = [line.removeprefix(b"\xef\xbb\xbf").strip(b" \t\r") for line in stream.split(b"\n")[:-1]]
    found = [json.loads(answer) for answer in answers.split(b"\n")[:-1]]
    assert len(found) == sum(map(bool, lines)), "an answer too many or too few"
    assert all(answer["ok"] or "expected" in answer["error"] or "longer" in answer["error"] for answer in found)
    rows, head = ring.snapshot()
    assert head <= sum(answer["ok"] for answer in found)
    assert np.isfinite(rows.features).all()
    assert ((rows.score >= 0) & (rows.score <= 100)).all()


def seeds(directory: Path) -> None:
    """Write the hostile inputs as a corpus to begin with."""
    directory.mkdir(parents=True, exist_ok=True)
    for path in _INPUTS.glob("*.in*"):
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        if len(data) < _LIMIT:
            (directory / path.name).write_bytes(b"\x3f" + data)


if __name__ == "__main__":
    seeds(Path(sys.argv[1]))
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
