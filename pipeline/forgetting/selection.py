"""Which samples are to be forgotten."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.ingest.dedup import name_hashes
from pipeline.protocol import Sample
from pipeline.shm.rows import RowBatch

_decode = msgspec.json.Decoder(Sample).decode


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Samples that fit everything that is given: names, and a Unix time before which they arrived."""

    job: str | None = None
    tenant: str | None = None
    group: str | None = None
    before: float | None = None

    def rows(self, rows: RowBatch) -> NDArray[np.bool_]:
        """Tell which rows are among them, bool[n]; those that were removed are not."""
        chosen = ~np.isnan(rows.score)
        for name, column in ((self.job, rows.job), (self.tenant, rows.tenant), (self.group, rows.group)):
            if name is not None:
                chosen &= column == name_hashes([name])[0]
        if self.before is not None:
            chosen &= rows.arrival < self.before
        return chosen

    def sample(self, job: str, tenant: object, source: str | None, arrival: float) -> bool:
        """Tell whether a sample is among them, by its names; its group is its source, or its job without one."""
        group = job if source is None else source
        pairs = ((self.job, job), (self.tenant, tenant), (self.group, group))
        return all(wanted in (None, name) for wanted, name in pairs) and (self.before is None or arrival < self.before)

    def line(self, line: bytes, arrival: float) -> bool:
        """Tell whether a line that was accepted is of one of them."""
        if not line.strip():
            return False
        sample = _decode(line)
        return self.sample(sample.job_id, sample.tenant_id, sample.source_id, arrival)
