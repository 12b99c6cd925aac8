"""What goes into the archive in one go: samples of one ring, in memory until their files are written."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

from pipeline.archive.names import directory_of
from pipeline.archive.wire import Parsed, Parser
from pipeline.shm.byte_ring import Origin, Record


@dataclass(slots=True)
class Samples:
    """Samples of one directory, in order: what they share with others of their record, their sequences, their lines."""

    origins: list[Origin] = field(default_factory=list)
    sequences: list[int] = field(default_factory=list)
    lines: list[Parsed] = field(default_factory=list)

    def after(self, sequence: int) -> Samples:
        """Return those with a larger sequence."""
        start = next((i for i, each in enumerate(self.sequences) if each > sequence), len(self.sequences))
        return Samples(self.origins[start:], self.sequences[start:], self.lines[start:])


class Batch:
    """Samples by directory; `ring` is theirs, `size` the bytes of their lines."""

    def __init__(self) -> None:
        self.by_directory: dict[str, Samples] = {}
        self.ring = self.n_features = self.size = 0
        self._began = math.inf
        self._count = 0
        self._parser: Parser | None = None

    def __len__(self) -> int:
        return self._count

    @property
    def age(self) -> float:
        """For how many seconds the oldest sample has waited; negative where there is none."""
        return time.monotonic() - self._began

    def takes(self, record: Record) -> bool:
        """Whether these lines can be added: all of a batch are of one ring."""
        return not self or record.origin.ring == self.ring

    def add(self, record: Record) -> None:
        """Add the lines of a record."""
        if self._parser is None:
            line = next((line for line in record.lines if line.strip()), None)
            if line is None:
                return
            self._parser = Parser(line)
            self.n_features = self._parser.n_features
            self._began = time.monotonic()
        origin = record.origin
        parse = self._parser.parse
        for sequence, line in enumerate(record.lines, origin.first):
            if not line.strip():
                continue  # forgotten
            parsed = parse(line)
            samples = self._samples(parsed.row.tenant_id, origin.arrival)
            samples.origins.append(origin)
            samples.sequences.append(sequence)
            samples.lines.append(parsed)
        self.ring = origin.ring
        self.size += sum(map(len, record.lines))
        self._count += len(record.lines)

    def _samples(self, tenant: str | None, arrival: float) -> Samples:
        directory = directory_of(tenant, arrival)
        samples = self.by_directory.get(directory)
        if samples is None:
            samples = self.by_directory[directory] = Samples()
        return samples
