"""Samples as a message."""

import gzip
from pathlib import Path

import msgspec
import numpy as np
import pytest

from pipeline.fleet.message import MOST_ROWS, Message, Refused, pack, unpack, words_of
from tests.support.rows import random_rows

INPUTS = sorted(Path(__file__).with_name("inputs").iterdir())
"""Messages that somebody made up, each with six features and one row."""


@pytest.mark.parametrize("n_features", [1, 2, 6, 80])
def test_rows_arrive_as_they_were(n_features: int) -> None:
    """Every column, of one row and of as many as fit."""
    for count in (1, MOST_ROWS):
        rows = random_rows(count, n_features)
        message = unpack(pack(rows, base="b", target="true_score", sent=7))
        assert (message.base, message.target, message.sent) == ("b", "true_score", 7)
        np.testing.assert_array_equal(words_of(message, n_features), rows.words)


def damaged(**fields: object) -> bytes:
    """Return a message of two rows with other fields."""
    message = unpack(pack(random_rows(2, 6), base="b", target="true_score", sent=0))
    return msgspec.msgpack.encode(msgspec.structs.replace(message, **fields))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not_a_message"),
        (b"\xff" * 100, "not_a_message"),
        (b'{"job_id": "json"}', "not_a_message"),
        (msgspec.msgpack.encode(["one"]), "not_a_message"),
        (damaged(format=2), "other_format"),
        (damaged(n_features=5), "feature_count"),
        (damaged(rows=b""), "not_a_message"),
        (damaged(rows=b"12345"), "not_a_message"),
        (damaged(rows=bytes(4 * 26 * (MOST_ROWS + 1))), "not_a_message"),
    ],
)
def test_what_is_no_message_is_refused_by_reason(data: bytes, reason: str) -> None:
    """Whatever a sender makes up."""
    with pytest.raises(Refused) as raised:
        words_of(unpack(data), 6)
    assert raised.value.reason == reason


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.name)
def test_what_somebody_made_up_is_refused(path: Path) -> None:
    """And nothing else: what is raised besides would end the pool's intake, each time it came to this message."""
    data = path.read_bytes()
    with pytest.raises(Refused) as raised:
        unpack(gzip.decompress(data) if path.suffix == ".gz" else data)
    assert raised.value.reason == "not_a_message"


def test_rows_of_a_message_cannot_be_written_to() -> None:
    """They are the message's own bytes."""
    message: Message = unpack(pack(random_rows(2, 6), base="b", target="true_score", sent=0))
    with pytest.raises(ValueError, match="read-only"):
        words_of(message, 6)[:] = 0
