"""Tells the fleet which model the registry's pointer leads to, where this sidecar is a pool.

In a thread of its own: a fleet that does not answer keeps no model from the registry.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from pipeline.artifacts.artifact import BASE_SHA256, CREATED, MODEL_SHA256, WITHDRAWN, WITHDRAWN_TYPE
from pipeline.artifacts.faults import RegistryFault
from pipeline.artifacts.published import version_of
from pipeline.artifacts.reference import LATEST_STABLE
from pipeline.artifacts.store import open_store
from pipeline.artifacts.transfer import manifest_of
from pipeline.config import Settings
from pipeline.runtime.disk_jobs import BackOff, JobThread
from pipeline.runtime.extras import lacking
from pipeline.runtime.logs import Logger
from pipeline.runtime.outage import LONGEST
from pipeline.runtime.reports import PublisherReport

if TYPE_CHECKING:
    from pipeline.fleet.link import Link
    from pipeline.fleet.models import Announcement

_PATIENCE_S, _LOOK_S = 6.0, 0.05


class Announcer:
    """Announces after each pass of the publisher, and again until that has worked. `problem`: what is wrong with it."""

    def __init__(self, settings: Settings, log: Logger, when_done: Callable[[], None]) -> None:
        self._settings, self._log = settings, log
        self._thread: JobThread[str] = JobThread(when_done)
        self._back_off = BackOff()
        self._link: Link | None = None
        self._is_due = False
        self._base = ""
        self.problem = ""

    def ask(self) -> None:
        """Have it looked at what the registry leads to."""
        self._is_due = True

    @property
    def due_in(self) -> float:
        """Seconds until there is something to do; infinite while nothing is, or it is being done."""
        return max(0.0, self._back_off.seconds) if self._base and self._is_due and not self._thread.busy else math.inf

    def turn(self, report: PublisherReport, base_sha256: str) -> None:
        """Take in what has been done, begin what is due, and report.

        `base_sha256` is the base model that is trained here; empty while that is not known.
        """
        self._base = base_sha256
        self._take_in(report)
        if self.due_in <= 0:
            self._is_due = False
            self._thread.start(lambda: self._announce(base_sha256))

    def _take_in(self, report: PublisherReport) -> None:
        try:
            announced = self._thread.result()
        except Exception as error:  # whatever it is, the publisher goes on
            self._failed(error, report)
            return
        if announced is None:
            return
        if announced != report.announced:
            self._log.info("announced", digest=announced)
        report.announced, report.announcing_failing, report.announcing_failing_since = announced, "", 0.0
        self._back_off.succeeded()
        self.problem = ""

    def _failed(self, error: Exception, report: PublisherReport) -> None:
        kind = getattr(error, "kind", "local")
        reason = (str(error) or type(error).__name__)[:LONGEST]
        self._is_due = True
        self._back_off.failed()
        self._log.warning("announcing_failed", kind=kind, reason=reason)
        report.announcing_failures[kind] = report.announcing_failures.get(kind, 0) + 1
        if not report.announcing_failing:
            report.announcing_failing_since = time.time()
        report.announcing_failing = kind
        self.problem = f"fleet {kind}: {reason}"

    def _announce(self, base_sha256: str) -> str:
        """Return the digest that the fleet is told of now; empty for none."""
        from pipeline.fleet import models

        said = models.announce(self._connected(), self._settings, base_sha256, lambda: self._newest(base_sha256))
        return said.digest if said is not None else ""

    def _connected(self) -> Link:
        """Return the connection; one that is not there is waited for a while."""
        if self._link is None:
            if missing := lacking("fleet", "announcing models"):
                raise RegistryFault("local", missing)
            from pipeline.fleet.link import Link

            self._link = Link(self._settings, f"pool-{self._settings.pool}")
        until = time.monotonic() + _PATIENCE_S
        while not self._link.is_up and time.monotonic() < until:
            time.sleep(_LOOK_S)
        return self._link

    def _newest(self, base_sha256: str) -> Announcement | None:
        """Return what the registry's pointer leads to; None for nothing, or a model of another base model."""
        from pipeline.fleet.models import Announcement

        assert self._settings.registry is not None
        store = open_store(self._settings.registry)
        pointer = store.pointer(LATEST_STABLE)
        if pointer is None or not pointer.digest:
            return None
        there = manifest_of(store, pointer.digest)
        said, registry, pool = there.annotations, str(self._settings.registry), self._settings.pool
        if there.artifact_type == WITHDRAWN_TYPE:
            return Announcement(
                digest="", base_sha256=base_sha256, sha256=said.get(WITHDRAWN, ""), pool=pool, registry=registry
            )
        if said.get(BASE_SHA256) != base_sha256:
            return None
        return Announcement(
            digest=pointer.digest,
            base_sha256=base_sha256,
            sha256=said.get(MODEL_SHA256, ""),
            version=version_of(there),
            created=said.get(CREATED, ""),
            pool=pool,
            registry=registry,
        )
