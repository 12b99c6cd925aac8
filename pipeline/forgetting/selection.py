"""Which samples are to be forgotten."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.fleet.names import is_name
from pipeline.ingest.dedup import name_hashes
from pipeline.protocol import accepted_sample
from pipeline.runtime.control import Forgotten
from pipeline.shm.rows import RowBatch


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Samples that fit everything that is given: names, and a Unix time before which they arrived."""

    job: str | None = None
    tenant: str | None = None
    group: str | None = None
    node: str | None = None
    before: float | None = None

    def whole(self) -> dict[str, str]:
        """Return the name, by kind of owner, of which everything goes; a group may be called by its job."""
        kinds = (("group", self.job or self.group), ("tenant", self.tenant), ("node", self.node))
        given = {kind: name for kind, name in kinds if name}
        alone = self.before is None and (self.job is None or self.group is None) and len(given) == 1
        return given if alone else {}

    def sender(self, tenant: str) -> str | None:
        """Return the node of a tenant of whose messages everything goes, "*" for all nodes; None for neither."""
        if (self.job, self.group, self.before) != (None, None, None) or self.tenant not in {None, tenant}:
            return None
        if self.node is not None:
            return self.node if is_name(self.node) else None
        return None if self.tenant is None else "*"

    def tombstone(self, now: float) -> Forgotten:
        """Return the rule that keeps them from coming back.

        Of a job no sample is taken any more. Others may go on: of these, what was captured before now.
        None has arrived later than now, whatever time was given.
        """
        whole_job = self.job is not None and self.before is None
        until = None if whole_job else min(now, now if self.before is None else self.before)
        job, tenant, group, node = map(_hash, (self.job, self.tenant, self.group, self.node))
        return Forgotten(job=job, tenant=tenant, group=group, node=node, until=until)

    def rows(self, rows: RowBatch) -> NDArray[np.bool_]:
        """Tell which rows are among them, bool[n]; those that were removed are not."""
        chosen = ~np.isnan(rows.score)
        for name, column in ((self.tenant, rows.tenant), (self.group, rows.group), (self.node, rows.node)):
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

        An older release has saved them without the hashes of job, tenant and node.
        """
        if (self.job, self.tenant, self.node) == (None, None, None):
            return 0
        rest = Selection(group=self.group, before=self.before)
        return int((rest.rows(rows) & ~self.rows(rows) & (rows.job == 0)).sum())

    def line(self, line: bytes, arrival: float) -> bool:
        """Tell whether a line that was accepted is of one of them; its group is its source, or its job without one."""
        if not line.strip():
            return False
        sample = accepted_sample(line)
        group = sample.job_id if sample.source_id is None else sample.source_id
        pairs = (
            (self.job, sample.job_id),
            (self.tenant, sample.tenant_id),
            (self.group, group),
            (self.node, sample.node_id),
        )
        return all(wanted in (None, name) for wanted, name in pairs) and (self.before is None or arrival < self.before)


def _hash(name: str | None) -> int | None:
    return None if name is None else int(name_hashes([name])[0])
