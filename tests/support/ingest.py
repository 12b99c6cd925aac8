"""The ingest process alone, without trainer and exporter: nothing may depend on them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psutil

from pipeline.runtime.reports import IngestReport
from pipeline.shm.segment import SegmentError
from tests.support.sidecar import SIX, Sidecar


class Ingest(Sidecar):
    """A sidecar of which only ingest runs. `descriptors_allowed` limits its open files, where it is not 0."""

    def __init__(self, directory: Path, **settings: str) -> None:
        super().__init__(directory, **(SIX | settings))
        self.descriptors_allowed = 0
        self.idle_descriptors = 0

    def run_command(self) -> list[str]:
        """Return the command that starts it."""
        command = [sys.executable, "-m", "pipeline.ingest"]
        limit = f'ulimit -n {self.descriptors_allowed} && exec "$@"'
        return ["sh", "-c", limit, "sh", *command] if self.descriptors_allowed else command

    def start(self) -> None:
        """Start it and wait until it serves."""
        super().start()
        self.idle_descriptors = self.descriptors()

    def is_well(self) -> bool:
        """Whether it serves."""
        report = self.report()
        return report.pid == self.process.pid and report.phase == "accepting"

    def report(self) -> IngestReport:
        """Return what it reports; defaults before there is anything."""
        try:
            return self.board().ingest()
        except SegmentError:
            return IngestReport()

    def rss(self) -> int:
        """Return its private resident memory in bytes: what is shared with others is not counted."""
        usage: Any = psutil.Process(self.process.pid).memory_info()
        return int(usage.rss - usage.shared)

    def descriptors(self) -> int:
        """Return how many files it has open."""
        return int(psutil.Process(self.process.pid).num_fds())

    def forgive(self) -> None:
        """Make the dead process look as if it had ended well, so that the next start does not have to wait."""
        ended = msgspec.structs.replace(self.report(), phase="stopped")
        self.board().box("ingest").publish(msgspec.msgpack.encode(ended))


@contextmanager
def running(directory: Path, **settings: str) -> Iterator[Ingest]:
    """Run ingest for a while."""
    with Ingest(directory, **settings) as ingest:
        ingest.start()
        yield ingest
