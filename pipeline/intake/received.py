"""Messages as they come out of the stream, in its order, each once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from nats.aio.msg import Msg

from pipeline.fleet import names


class Received(NamedTuple):
    """A message: its place in the stream, when the server stored it (Unix seconds), who sent it, and what."""

    sequence: int
    at: float
    node: str
    data: bytes


_PARTS = 9
"""Words of the subject that an acknowledgement goes to, as servers without domains write it."""


def in_order(messages: Iterable[Msg], after: int) -> list[Received]:
    """Return those that come after a sequence; what was delivered a second time is left out."""
    found = []
    for message in messages:
        sequence, at = _place(message.reply)
        if sequence > after:
            found.append(Received(sequence, at, names.node_of(message.subject), message.data))
            after = sequence
    return found


def _place(reply: str) -> tuple[int, float]:
    """Return sequence and time out of `$JS.ACK.….<delivered>.<stream sequence>.<consumer sequence>.<ns>.<pending>`."""
    parts = reply.split(".")
    parts = parts if len(parts) == _PARTS else parts[2:]  # with domain and account
    return int(parts[5]), int(parts[7]) / 1e9
