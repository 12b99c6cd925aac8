"""Samples as a message: rows of the ring, with what a pool has to know to take them."""

from __future__ import annotations

from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.shm.rows import RowBatch, row_words

MOST_ROWS = 256
"""Rows in a message at most."""
MOST_SENT = 1 << 60
"""No sender has sent so many; above it a count would not fit where it is kept."""
FORMAT = 1


class Refused(Exception):
    """A message that cannot be used; `reason` is the name that it is counted under."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Message(msgspec.Struct, array_like=True, frozen=True):
    """Rows as they lie in shared memory, one after the other.

    base: digest of the base model of whoever sends them: what is learned from them fits no other. target: which score
    they have. sent: samples that this sender has sent before, so that a receiver knows what it has missed. rows: a view
    of what was received, not a copy.
    """

    format: int
    base: str
    target: str
    n_features: int
    sent: Annotated[int, msgspec.Meta(ge=0, lt=MOST_SENT)]
    rows: memoryview


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Message).decode


def pack(rows: RowBatch, *, base: str, target: str, sent: int) -> bytes:
    """Return rows, at most `MOST_ROWS`, as a message."""
    assert len(rows) <= MOST_ROWS
    return _encode(Message(FORMAT, base, target, rows.n_features, sent, rows.words.data.cast("B")))


def unpack(data: bytes) -> Message:
    """Return a message as it was sent. Raises Refused."""
    try:
        message = _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Refused("not_a_message", f"not a message of samples: {error}") from None
    if message.format != FORMAT:
        raise Refused("other_format", f"format {message.format}, expected {FORMAT}")
    return message


def words_of(message: Message, n_features: int) -> NDArray[np.float32]:
    """Return a message's rows, as they lie in it, float32[n, row_words], to be read only. Nothing in them is checked.

    They may begin at any byte. Raises Refused.
    """
    if message.n_features != n_features:
        raise Refused("feature_count", f"samples of {message.n_features} features, expected {n_features}")
    words = np.frombuffer(message.rows, np.uint8)
    width = 4 * row_words(n_features)
    if not 0 < len(words) <= MOST_ROWS * width or len(words) % width:
        raise Refused("not_a_message", f"{len(words)} bytes of rows, expected 1 to {MOST_ROWS} times {width}")
    return words.view(np.float32).reshape(-1, width // 4)
