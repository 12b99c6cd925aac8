"""The region `names`: what the hashes in rows are the hashes of, for who shows them to people."""

from __future__ import annotations

from pipeline.ingest.names import CAPACITY, Owners
from pipeline.runtime import regions
from pipeline.runtime.process import Process
from pipeline.runtime.reports import IngestReport
from pipeline.shm.mailbox import Mailbox
from pipeline.shm.segment import Segment


class PublishedNames:
    """The region `names`, and the names that are published in it."""

    def __init__(self, mailbox: Mailbox, saved: bytes) -> None:
        self._mailbox, self.owners = mailbox, Owners(saved)

    def publish(self) -> None:
        """Publish the names, if there are new ones."""
        if self.owners.is_news or not self._mailbox.version:
            self._mailbox.publish(self.owners.encoded())


def own_names(process: Process[IngestReport]) -> tuple[PublishedNames, Segment]:
    """Open the region `names`; where it is new, what the saved state has of it is its content."""
    mailbox, opened = regions.own_mailbox(process.settings, "names", CAPACITY)
    names = PublishedNames(mailbox, process.saved.state.names if opened.is_new else mailbox.payload() or b"")
    names.publish()
    return names, opened.segment
