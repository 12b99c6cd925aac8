"""The ring of bytes: records come back whole and in order, or not at all, whatever the writer does meanwhile."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.shm.byte_ring import KIND, ByteRing, Lapped, Origin, Record
from tests.shm.lines_writer import RING, intact, lines_of, write
from tests.support.processes import attached, running
from tests.support.waiting import eventually

CAPACITY = 65536
SECONDS = 1.5

both = pytest.mark.parametrize("sealing", [False, True])


def read_all(ring: ByteRing, position: int) -> list[Record]:
    """Return every record from `position` on."""
    found: list[Record] = []
    while records := ring.read(found[-1].end if found else position, 1000):
        found += records
    return found


@both
@given(lengths=st.lists(st.lists(st.integers(0, 240), min_size=1, max_size=8), max_size=60))
def test_what_is_written_is_read(sealing: bool, lengths: list[list[int]]) -> None:
    """The newest records that fit, with their lines, across the end of the buffer; the oldest are gone whole."""
    ring = ByteRing.private(4096, sealing=sealing)
    written = []
    for first, sizes in enumerate(lengths):
        lines = [bytes([97 + first % 26]) * size for size in sizes]
        origin = Origin(1, first, first / 3, first, 0)
        assert ring.room_for(len(b"\n".join(lines)))
        ring.prepare(origin, len(lines), b"\n".join(lines))
        ring.commit()
        written.append((origin, lines))
    found = [(record.origin, record.lines) for record in read_all(ring, ring.oldest)]
    assert found == written[len(written) - len(found) :]
    assert ring.head - ring.oldest <= 4096
    assert len(found) >= min(len(written), 1)


def test_a_record_larger_than_the_limit_is_read() -> None:
    """One at least, so that a reader always gets on."""
    ring = ByteRing.private(CAPACITY)
    ring.prepare(Origin(1, 0, 0.0, 0, 0), 1, b"y" * 5000)
    ring.commit()
    assert [record.lines for record in ring.read(0, 10)] == [[b"y" * 5000]]
    assert ring.read(ring.head, 10) == []


def test_who_is_lapped_is_told() -> None:
    """And finds the beginning of a record where `oldest` says."""
    ring = ByteRing.private(CAPACITY)
    first = 0
    while ring.oldest == 0:
        first = write(ring, first)
    with pytest.raises(Lapped):
        ring.read(0, 1000)
    records = read_all(ring, ring.oldest)
    assert all(map(intact, records))
    assert records[-1].origin.first + len(records[-1].lines) == first


@both
@pytest.mark.parametrize(("ring_of_samples", "head", "kept"), [(RING, 5, 5), (RING, 100, 6), (RING, 0, 0), (8, 100, 0)])
def test_a_prepared_record_is_cut_to_what_the_ring_of_samples_has(
    sealing: bool, ring_of_samples: int, head: int, kept: int
) -> None:
    """Its writer died before `commit`: the next one keeps the lines of rows that are there, and goes on behind them."""
    ring = ByteRing.private(CAPACITY, sealing=sealing)
    ring.prepare(Origin(RING, 0, 0.0, 0, 0), 6, b"\n".join(b"%d" % i for i in range(6)))
    assert ring.read(0, 1000) == []
    ring.open_writer(sealing=sealing)
    ring.recover(ring_of_samples, head)
    assert [line for record in read_all(ring, 0) for line in record.lines] == [b"%d" % i for i in range(kept)]
    ring.recover(ring_of_samples, head)
    write(ring, 50)
    assert [line for record in read_all(ring, 0) for line in record.lines][kept:] == lines_of(50)


@both
def test_no_torn_record_is_accepted(segment_name: str, sealing: bool) -> None:
    """Read where another process is about to write, for seconds: what is accepted is intact, and much is rejected."""
    accepted = lapped = 0
    with running("tests.shm.lines_writer", segment_name, str(CAPACITY), str(sealing)):
        found = attached(segment_name, KIND)
        ring = ByteRing(found.body, CAPACITY)
        assert eventually(lambda: ring.oldest > CAPACITY)
        began = time.monotonic()
        while time.monotonic() < began + (SECONDS if accepted and lapped > 10 else 60):
            try:
                records = ring.read(ring.oldest, CAPACITY // 4)
            except Lapped:
                lapped += 1
                continue
            assert all(map(intact, records))
            accepted += len(records)
    assert accepted > 0
    assert lapped > 10


def test_a_killed_writer_leaves_whole_records(segment_name: str) -> None:
    """SIGKILL at any moment: everything from `oldest` to `head` is intact."""
    for _ in range(5):
        with running("tests.shm.lines_writer", segment_name, str(CAPACITY), "False") as writer:
            ring = ByteRing(attached(segment_name, KIND).body, CAPACITY)
            before = ring.head
            assert eventually(lambda ring=ring, before=before: ring.head > before + 2 * CAPACITY)  # type: ignore[misc]
            writer.kill()
            writer.wait()
        records = read_all(ring, ring.oldest)
        assert len(records) > 3
        assert all(map(intact, records))
        assert records[-1].end == ring.head
