"""The ingest process alone, without trainer and exporter: nothing may depend on them."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psutil

from pipeline import config
from pipeline.runtime import regions
from pipeline.runtime.reports import IngestReport
from pipeline.shm.ring import Ring
from pipeline.shm.segment import SHM_DIR, SegmentError
from tests.support.client import Client
from tests.support.waiting import PATIENCE_S, eventually

N_FEATURES = 6


class Ingest:
    """`python -m pipeline.ingest` with settings of its own; `start` may be called again after it ended."""

    def __init__(self, directory: Path, **settings: str) -> None:
        self.socket = directory / "s.sock"
        self._log = directory / "ingest.log"
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("VMAFX_")} | {
            "VMAFX_SIDECAR_SOCKET": str(self.socket),
            "VMAFX_SIDECAR_CHECKPOINT_DIR": str(directory / "models"),
            "VMAFX_SIDECAR_N_FEATURES": str(N_FEATURES),
            **settings,
        }
        self.settings = config.load(self.environment)
        self.process: subprocess.Popen[bytes]
        self.idle_descriptors = 0

    def start(self, descriptors: int | None = None) -> None:
        """Start it, with a limit on open files where one is given, and wait until it serves."""
        self.launch(descriptors)
        eventually(self._serves, explain=self.log)
        self.idle_descriptors = self.descriptors()

    def launch(self, descriptors: int | None = None) -> None:
        """Start it without waiting."""

        def limit() -> None:
            if descriptors is not None:
                resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pipeline.ingest"],
                env=self.environment,
                stdout=log,
                stderr=log,
                preexec_fn=limit,
            )

    def _serves(self) -> bool:
        report = self.report()
        return report.pid == self.process.pid and report.phase == "accepting"

    def report(self) -> IngestReport:
        """Return what it reports; defaults before there is anything."""
        try:
            return regions.attach_board(self.settings.instance_name).ingest()
        except SegmentError:
            return IngestReport()

    def ring(self) -> Ring:
        """Attach to its ring."""
        return regions.attach_ring(self.settings)[0]

    def log(self) -> str:
        """Return what it has logged."""
        return self._log.read_text(errors="replace")

    def client(self) -> Client:
        """Connect."""
        return Client(self.socket)

    def rss(self) -> int:
        """Return its private resident memory in bytes: what is shared with others is not counted."""
        usage: Any = psutil.Process(self.process.pid).memory_info()
        return int(usage.rss - usage.shared)

    def descriptors(self) -> int:
        """Return how many files it has open."""
        return int(psutil.Process(self.process.pid).num_fds())

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()
        self.process.wait()

    def forgive(self) -> None:
        """Make the dead process look as if it had ended well, so that the next start is not held back."""
        ended = msgspec.structs.replace(self.report(), phase="stopped")
        regions.attach_board(self.settings.instance_name).box("ingest").publish(msgspec.msgpack.encode(ended))

    def stop(self) -> int:
        """End it as the supervisor does; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)

    def clean(self) -> None:
        """End it whatever it does, and remove its shared memory."""
        if hasattr(self, "process"):
            self.kill()
        for leftover in regions.leftovers(self.settings.instance_name):
            (SHM_DIR / leftover).unlink(missing_ok=True)


@contextmanager
def running(directory: Path, **settings: str) -> Iterator[Ingest]:
    """Run ingest for a while."""
    ingest = Ingest(directory, **settings)
    try:
        ingest.start()
        yield ingest
    finally:
        ingest.clean()
