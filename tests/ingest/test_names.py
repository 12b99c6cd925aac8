"""What rows say of whose they are, and which names people can be shown for it."""

import tracemalloc

import msgspec
import numpy as np
import pytest

from pipeline.ingest.admission import Admission
from pipeline.ingest.dedup import Deduplicator, name_hashes
from pipeline.ingest.names import CAPACITY, KINDS, LONGEST_BYTES, PER_KIND, Owners
from pipeline.protocol import accepted_prefix
from pipeline.runtime import messages
from pipeline.shm.ring import Ring
from pipeline.shm.rows import RowBatch

PREFIX = accepted_prefix(0, trained=False, loss=None)


def taken(*whose: dict[str, object]) -> tuple[RowBatch, Admission]:
    """Send a message for each of `whose`, all in one round; return the rows."""
    ring = Ring.private(64, 2)
    ring.open_writer()
    admission = Admission(ring, Deduplicator(64, []), 10_000)
    lines = [
        msgspec.json.encode({"job_id": f"job-{number}", "features": [1.0, 2.0], "true_score": 50.0} | each)
        for number, each in enumerate(whose)
    ]
    answered = admission.admit([[b"\n".join(lines) + b"\n"]], PREFIX)[0].splitlines()
    assert [msgspec.json.decode(line)["ok"] for line in answered] == [True] * len(whose)
    return ring.snapshot()[0], admission


def hashed(name: str) -> int:
    """Return the hash of a name."""
    return int(name_hashes([name])[0])


def test_a_row_says_whose_it_is() -> None:
    """Some messages of a round say all, some a part, some nothing; the group is the source's, the job stays."""
    rows, admission = taken(
        {"node_id": "n1", "tenant_id": "t1", "codec": "av1", "height": 1080, "source_id": "s"}, {}, {"codec": "h264"}
    )
    assert rows.node.tolist() == [hashed("n1"), 0, 0]
    assert rows.tenant.tolist() == [hashed("t1"), 0, 0]
    assert rows.codec.tolist() == [hashed("av1"), 0, hashed("h264")]
    assert rows.height.tolist() == [1080, 0, 0]
    assert rows.job.tolist() == [hashed(f"job-{number}") for number in range(3)]
    assert rows.group.tolist() == [hashed("s"), hashed("job-1"), hashed("job-2")]
    names = messages.decode_names(admission.owners.encoded())
    assert names.codec == {hashed("av1"): "av1", hashed("h264"): "h264"}
    assert (names.node, names.tenant) == ({hashed("n1"): "n1"}, {hashed("t1"): "t1"})


@pytest.mark.parametrize("value", [None, "", 7, -1, 1.5, True, ["a"], {"a": 1}, 2**70])
@pytest.mark.parametrize("field", ["node_id", "tenant_id", "codec"])
def test_what_is_no_name_names_nothing(field: str, value: object) -> None:
    """It is taken all the same."""
    rows, _ = taken({field: value})
    assert [rows.node[0], rows.tenant[0], rows.codec[0]] == [0, 0, 0]


@pytest.mark.parametrize("height", ["1080", 0, -1, 1.5, 2**32, 2**80, [1], None])
def test_what_is_no_height_is_not_known(height: object) -> None:
    """It is taken all the same."""
    assert taken({"height": height, "codec": "x"})[0].height.tolist() == [0]


@pytest.mark.parametrize("name", ["a\x1b[31m", "tab\t", "\u202egnp", "x" * (LONGEST_BYTES + 1), "é" * LONGEST_BYTES])
def test_a_name_that_cannot_be_shown_is_hashed_alone(name: str) -> None:
    """Control characters, changes of direction, and what is too long: rows still differ by it."""
    rows, admission = taken({"node_id": name})
    assert rows.node.tolist() == [hashed(name)]
    assert messages.decode_names(admission.owners.encoded()).node == {}


def test_names_are_bounded_and_fit_the_region() -> None:
    """Ten thousand names of each kind, the longest there are: the first are remembered, all rows are told apart."""
    owners = Owners()
    names = [f"{number:064d}" for number in range(10_000)]
    many = list(zip(names, names, names, range(10_000), strict=True))
    cells = owners.cells(many)
    assert len(np.unique(cells[:, 0])) == 10_000
    assert cells[:, 3].tolist() == list(range(10_000))
    encoded = owners.encoded()
    assert [len(getattr(messages.decode_names(encoded), kind)) for kind in KINDS] == [PER_KIND] * 3
    assert len(encoded) <= CAPACITY
    np.testing.assert_array_equal(owners.cells(many[::-1]), cells[::-1])


def test_long_names_do_not_fill_the_memory() -> None:
    """A client may send another long one with each message; rows have their hashes all the same."""
    owners = Owners()
    tracemalloc.start()
    for number in range(50):
        name = f"{number}{'n' * 100_000}"
        assert owners.cells([(name, name, name, 0)])[0, 0] == hashed(name)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 1_000_000


def test_names_outlive_ingest() -> None:
    """Those of the life before are known and no news; a region of another release is as none."""
    first = Owners()
    first.cells([("n", None, "av1", None)])
    assert first.is_news
    second = Owners(first.encoded())
    second.cells([("n", None, "av1", 3)])
    assert not second.is_news
    assert second.encoded() == first.encoded()
    assert messages.decode_names(Owners(b"\xc1not msgpack").encoded()) == messages.Names()
