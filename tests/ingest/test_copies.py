"""Accepted lines as they came, for the archive: a line is there if and only if its row is."""

from pathlib import Path

import pytest

from pipeline.shm.byte_ring import Origin
from tests.archive.feed import Feed, sample


@pytest.fixture
def feed(instance: str, tmp_path: Path) -> Feed:
    """Return a feed of this test's own."""
    return Feed(instance, tmp_path)


def copied(feed: Feed) -> list[bytes]:
    """Return all lines that were copied."""
    found, position = [], feed.lines.oldest
    while records := feed.lines.read(position, 1 << 20):
        found += [line for record in records for line in record.lines]
        position = records[-1].end
    return found


def test_lines_are_copied_as_they_came(feed: Feed) -> None:
    """With fields that nobody knows, odd spaces and what a node's system puts at a line's end."""
    lines = [sample(1, unknown={"a": [1, 2]}), b'  {"job_id":"2", "features":[1,2],"true_score":3}\r', sample(3)]
    assert all(answer["ok"] for answer in feed.send(*lines))
    assert [line.strip() for line in copied(feed)] == [line.strip() for line in lines]


def test_what_is_refused_or_sent_again_is_not_copied(feed: Feed) -> None:
    """Neither alone nor among others."""
    feed.send(sample(1), b"nonsense", sample(2), b"", b"\xef\xbb\xbf" + sample(3), sample(1))
    feed.send(sample(3), sample(4), sample(2))
    feed.send(sample(1))
    assert copied(feed) == [sample(number) for number in (1, 2, 3, 4)]


def test_empty_lines_of_one_connection_leave_the_others_lines_in_place(feed: Feed) -> None:
    """An empty line, alone or behind a message, is no sample's line, whoever else sends in the same round."""
    one, two, three = (sample(number) + b"\n" for number in (1, 2, 3))
    assert [answers.count(b"\n") for answers in feed.send_together(b"\n", one + b"\n", two)] == [0, 1, 1]
    feed.send_together(one + b"\n", b"\n", three)
    assert copied(feed) == [sample(number) for number in (1, 2, 3)]


def test_each_record_says_where_its_rows_are(feed: Feed) -> None:
    """Ring, first sequence, arrival, step and stable version are those of the rows and of that moment."""
    feed.moment = (17, 3)
    feed.send_numbers(0, 5)
    feed.moment = (18, 4)
    feed.send_numbers(5, 7)
    one, other = feed.lines.read(0, 1 << 20)
    arrivals = feed.ring.snapshot()[0].arrival
    assert one.origin == Origin(feed.ring.identity, 0, arrivals[0], 17, 3)
    assert other.origin == Origin(feed.ring.identity, 5, arrivals[5], 18, 4)


def test_more_than_fits_into_a_record(feed: Feed) -> None:
    """Is copied in pieces, and nothing is missing."""
    lines = [sample(number, padding="x" * 60_000) for number in range(12)]
    assert len(b"".join(lines)) > feed.lines.capacity // 2
    feed.send(*lines)
    assert copied(feed) == lines
    assert [record.origin.first for record in feed.lines.read(0, 1 << 20)] == [0, 6]


@pytest.mark.parametrize("stored", [0, 3, 5])
def test_ingest_dies_between_line_and_row(feed: Feed, stored: int) -> None:
    """The next one keeps the lines of the rows that got into the ring; what is sent again is there once."""
    feed.send_numbers(0, 4)
    lines = [sample(number) for number in range(4, 9)]
    origin = Origin(feed.ring.identity, feed.ring.head, 0.0, 0, 0)
    feed.lines.prepare(origin, len(lines), b"\n".join(lines))
    other = Feed(feed.settings.instance_name + "-other", feed.settings.archive_dir or Path())
    other.send(*lines)
    feed.ring.extend(other.ring.snapshot()[0].between(0, stored))
    feed.start()
    feed.send(*lines)
    assert copied(feed) == [sample(number) for number in range(9)]
    assert feed.ring.head == 9
    other.lose("ring")
