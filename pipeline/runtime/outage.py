"""A server that a process can do without for a while: what is wrong with it, since when, and when it is tried again."""

from __future__ import annotations

import time

from pipeline.runtime.disk_jobs import BackOff
from pipeline.runtime.reports import IngestReport, PublisherReport, UplinkReport

LONGEST = 300
"""Characters of a reason that are told."""


class Outage(BackOff):
    """Puts into a report what is wrong. `problem`: the same in a line; empty for nothing."""

    def __init__(self, what: str, report: IngestReport | PublisherReport | UplinkReport) -> None:
        super().__init__()
        self._what, self._report, self.problem = what, report, ""

    def began(self, kind: str, reason: str) -> None:
        """Report it, since now if nothing was wrong."""
        self._report.failing_since = self._report.failing_since if self._report.failing else time.time()
        self._report.failing, self.problem = kind, f"{self._what} {kind}: {reason[:LONGEST]}"

    def ended(self) -> None:
        """Report that all is well."""
        self._report.failing, self._report.failing_since, self.problem = "", 0.0, ""
        self.succeeded()
