"""The region `stream`: how far the stream was read, and by whom its samples were sent."""

from __future__ import annotations

import secrets
from heapq import nsmallest

import msgspec

from pipeline.runtime import messages, regions
from pipeline.runtime.messages import StreamPosition
from pipeline.runtime.process import Process
from pipeline.runtime.reports import IngestReport
from pipeline.shm.mailbox import Mailbox
from pipeline.shm.segment import Segment

_CAPACITY = 1 << 20
SENDERS = 4096
"""Sidecars that are counted one by one: as many as there is room for; the longest silent go first."""


class PublishedPosition:
    """What is published in the region; `publish` is called once the rows up to there are in the ring."""

    def __init__(self, mailbox: Mailbox, position: StreamPosition) -> None:
        self._mailbox, self.position = mailbox, position

    def publish(self) -> None:
        """Publish the position as it is now."""
        senders = self.position.senders
        for node in nsmallest(len(senders) - SENDERS, senders, key=lambda node: senders[node].at):
            self.position.drop(node)
        self._mailbox.publish(messages.encode(self.position))


def own_position(process: Process[IngestReport], *, restored: bool) -> tuple[PublishedPosition, Segment]:
    """Open the region; where it or the ring (`restored`) is new, what the saved state has of it is its content.

    Both are of one moment then: a position that is ahead of the ring would leave samples out.
    """
    mailbox, opened = regions.own_mailbox(process.settings, "stream", _CAPACITY)
    content = process.saved.state.stream if restored or opened.is_new else mailbox.payload() or b""
    try:
        position = messages.decode_position(content) if content else StreamPosition()
    except msgspec.MsgspecError:  # of another release
        position = StreamPosition()
    position.owner = position.owner or secrets.token_hex(8)
    published = PublishedPosition(mailbox, position)
    published.publish()
    return published, opened.segment
