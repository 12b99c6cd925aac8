"""Each file of inputs/ is what a client sends; inputs/expected.json lists the answers that it has to get, in order.

An answer is [what, job_id]: `accepted`, or the field that the refusal begins with. Vectors have two features; lines
are at most 262144 bytes long. Each file (the long ones are compressed) is sent whole, in pieces of several sizes, and,
where it is short, byte by byte.
"""

import gzip
import json
from pathlib import Path

import pytest

from pipeline.ingest.admission import Admission
from pipeline.ingest.dedup import Deduplicator
from pipeline.ingest.framing import Framer
from pipeline.protocol import accepted_prefix
from pipeline.shm.ring import Ring

INPUTS = Path(__file__).with_name("inputs")
EXPECTED: dict[str, list[list[str | None]]] = json.loads((INPUTS / "expected.json").read_text())
LONGEST = 262144
PREFIX = accepted_prefix(7, trained=True, loss=0.5)


def content(name: str) -> bytes:
    """Return what a client sends in the case `name`."""
    compressed = INPUTS / f"{name}.in.gz"
    return gzip.decompress(compressed.read_bytes()) if compressed.exists() else (INPUTS / f"{name}.in").read_bytes()


def answers(data: bytes, piece: int) -> list[list[str | None]]:
    """Feed `data` in pieces; return what the answers say."""
    admission = Admission(Ring.private(1000, 2), Deduplicator(1000, []), LONGEST)
    framer = Framer(LONGEST)
    replies: list[bytes] = []
    for start in range(0, len(data), piece):
        for block in framer.feed(data[start : start + piece]):
            (reply,) = admission.admit([[block]], PREFIX)
            replies += reply.splitlines(keepends=True)
    return [described(reply) for reply in replies]


def described(reply: bytes) -> list[str | None]:
    """Return [what, job_id] of one answer, which has to be one line of strict JSON."""
    assert reply.index(b"\n") == len(reply) - 1
    answer = json.loads(reply, parse_constant=lambda name: pytest.fail(f"{name} in an answer"))
    if answer["ok"]:
        assert answer["step"] == 7
        return ["accepted", answer["job_id"]]
    return [answer["error"].partition(":")[0], answer.get("job_id")]


@pytest.mark.parametrize("name", EXPECTED)
def test_every_line_gets_its_answer(name: str) -> None:
    """One answer a line, in order, naming what was wrong; what comes after is served; however the bytes are cut."""
    data = content(name)
    for piece in (len(data), 65536, 4096, 1021) + ((7, 1) if len(data) < 20_000 else ()):
        assert answers(data, piece) == EXPECTED[name], f"in pieces of {piece}"


def test_every_file_has_its_expectation() -> None:
    """A file that nobody looks at protects nobody."""
    assert {path.name.partition(".")[0] for path in INPUTS.glob("*.in*")} == set(EXPECTED)
