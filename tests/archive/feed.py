"""What ingest does for the archive, without sockets: lines in, rows and copies of the lines in shared memory."""

import json
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds

from pipeline import config
from pipeline.archive.batch import Batch
from pipeline.archive.names import PARTS
from pipeline.archive.tail import Tail
from pipeline.config import Settings
from pipeline.ingest.admission import Admission
from pipeline.ingest.copies import Copies
from pipeline.ingest.dedup import Deduplicator
from pipeline.ingest.framing import Framer
from pipeline.runtime import regions
from pipeline.shm import segment

PREFIX = b'{"ok":true,"job_id":'


class Feed:
    """The rings of an instance, as ingest has them. `moment` is the step and the stable version that arrive with it."""

    def __init__(self, instance: str, archive: Path, **more: str) -> None:
        self.settings: Settings = config.load(
            {
                "VMAFX_SIDECAR_INSTANCE": instance,
                "VMAFX_SIDECAR_N_FEATURES": "2",
                "VMAFX_SIDECAR_ARCHIVE_DIR": str(archive),
                "VMAFX_SIDECAR_ARCHIVE_BUFFER_BYTES": "1048576",
                "VMAFX_SIDECAR_MAX_LINE_BYTES": "65536",
                **more,
            }
        )
        self.moment = (0, 0)
        self.start()

    def start(self) -> None:
        """Do what ingest does at its start."""
        self.ring, _ = regions.own_ring(self.settings)
        if not self.ring.identity:
            self.ring.begin()
        self.lines, _ = regions.own_lines(self.settings)
        copies = Copies(self.lines, self.ring, lambda: self.moment, lambda: None)
        known = self.ring.snapshot()[0].key.tolist()
        resends = Deduplicator(self.settings.replay_capacity, known)
        self._admission = Admission(self.ring, resends, self.settings.max_line_bytes, copies=copies)

    def send(self, *lines: bytes) -> list[dict[str, Any]]:
        """Take lines as one connection sends them; return the answers."""
        answers = self._admission.admit([[b"\n".join(lines)]], PREFIX)[0]
        return [json.loads(answer) for answer in answers.splitlines()]

    def send_together(self, *chunks: bytes) -> list[bytes]:
        """Take what several connections send within one round; return each one's answers."""
        limit = self.settings.max_line_bytes
        return self._admission.admit([Framer(limit).feed(chunk) for chunk in chunks], PREFIX)

    def send_numbers(self, first: int, last: int, **more: object) -> None:
        """Accept samples whose jobs are these numbers."""
        self.send(*(sample(number, **more) for number in range(first, last)))

    def lose(self, region: str) -> None:
        """Remove a region, as the end of a container does, and start again."""
        segment.remove(regions.name(self.settings.instance_name, region))
        self.start()


def sample(number: int, **more: object) -> bytes:
    """Return the line of sample `number`."""
    message = {"job_id": str(number), "features": [number / 1024, 0.5], "true_score": number % 101, **more}
    return json.dumps(message).encode()


def taken(tail: Tail) -> Batch:
    """Return a batch of all that there is of one ring."""
    batch = Batch()
    while (record := tail.peek()) is not None and batch.takes(record):
        batch.add(tail.take())
    return batch


def rows(archive: Path) -> list[dict[str, Any]]:
    """Return everything in an archive, in order of arrival."""
    files = sorted(map(str, archive.glob(f"{PARTS}/part-*.parquet")))
    if not files:
        return []
    whole = ds.dataset(files, partitioning="hive", partition_base_dir=str(archive))
    found: list[dict[str, Any]] = whole.to_table().to_pylist()
    return sorted(found, key=lambda row: (row["arrival"], row["sequence"]))


def numbers(archive: Path) -> list[int]:
    """Return the samples in an archive, in order."""
    return sorted(int(row["job_id"]) for row in rows(archive))
