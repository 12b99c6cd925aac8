"""Which samples are to be forgotten."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.ingest.dedup import name_hashes
from pipeline.protocol import Sample
from pipeline.runtime.control import Forgotten
from pipeline.shm.rows import RowBatch

_decode = msgspec.json.Decoder(Sample).decode


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Samples that fit everything that is given: names, and a Unix time before which they arrived."""

    job: str | None = None
    tenant: str | None = None
    group: str | None = None
    before: float | None = None

    def whole(self) -> dict[str, str]:
        """Return the name, by kind of owner, of which everything goes; a group may be called by its job."""
        given = {kind: name for kind, name in (("group", self.job or self.group), ("tenant", self.tenant)) if name}
        alone = self.before is None and (self.job is None or self.group is None) and len(given) == 1
        return given if alone else {}

    def tombstone(self, now: float) -> Forgotten:
        """Return the rule that keeps them from coming back.

        Of a job no sample is taken any more. A tenant or a group may go on: of these, what was captured before now.
        None has arrived later than now, whatever time was given.
        """
        whole_job = self.job is not None and self.before is None
        until = None if whole_job else min(now, now if self.before is None else self.before)
        return Forgotten(job=_hash(self.job), tenant=_hash(self.tenant), group=_hash(self.group), until=until)

    def rows(self, rows: RowBatch) -> NDArray[np.bool_]:
        """Tell which rows are among them, bool[n]; those that were removed are not."""
        chosen = ~np.isnan(rows.score)
        for name, column in ((self.tenant, rows.tenant), (self.group, rows.group)):
            if name is not None:
                chosen &= column == name_hashes([name])[0]
        if self.job is not None:
            job = name_hashes([self.job])[0]
            chosen &= (rows.job == job) | ((rows.job == 0) & (rows.group == job))  # of an older release
        if self.before is not None:
            chosen &= rows.arrival < self.before
        return chosen

    def doubtful(self, rows: RowBatch) -> int:
        """Count the rows left of which nobody can tell whether they are among them.

        An older release has saved them without the hashes of job and tenant.
        """
        if self.job is None and self.tenant is None:
            return 0
        rest = Selection(group=self.group, before=self.before)
        return int((rest.rows(rows) & ~self.rows(rows) & (rows.job == 0)).sum())

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


def _hash(name: str | None) -> int | None:
    return None if name is None else int(name_hashes([name])[0])
