"""What the publisher does when: a pass over the registry where the directory has changed, and once a minute."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from pipeline.artifacts import base, offer
from pipeline.artifacts.faults import RegistryFault
from pipeline.artifacts.reference import Reference
from pipeline.artifacts.signature import Signer, Trust
from pipeline.artifacts.store import Store, open_store
from pipeline.checkpoints import pointers
from pipeline.config import Settings
from pipeline.publisher.push import Outcome, Pusher
from pipeline.runtime.logs import Logger

_INTERVAL_S = 60.0


@dataclass(frozen=True)
class Seen:
    """What a pass has found and done; `is_of_registry` false: it was too early to ask the registry."""

    is_of_registry: bool = False
    pointed: str = ""
    pointed_version: int = 0
    pushed: str = ""
    version: int = 0
    healed: tuple[RegistryFault, ...] = ()
    offered: str = ""
    newer_base: str = ""


class Passes:
    """Everything that one publisher does. `waits`: when a pass had failed, the directory had a version to be pushed."""

    def __init__(self, settings: Settings, log: Logger) -> None:
        self._settings, self._log = settings, log
        self._store: Store | None = None
        self._pusher: Pusher | None = None
        self._stamp: tuple[int, ...] = ()
        self._asked_at = -_INTERVAL_S
        self.waits = False

    def run(self, last: str, version: int, offered: str) -> Seen:
        """Make a pass if one is due.

        `last` is the digest that was pushed last, of `version`, `offered` the one that was offered.

        Raises RegistryFault, OSError or CheckpointError.
        """
        stamp = _stamp(self._settings.checkpoint_dir)
        if not stamp:
            return Seen()  # nobody has made it yet
        if stamp == self._stamp and time.monotonic() - self._asked_at < _INTERVAL_S:
            return Seen()
        self._stamp = ()  # until it has been done
        newer_base = self._newer_base()
        if self._settings.registry is None:
            outcome = None
        else:
            self.waits = self._is_behind(version)
            outcome = self._open().run(last)
            offered = self._offer(outcome, offered)
            self.waits = False
        self._stamp, self._asked_at = stamp, time.monotonic()
        if outcome is None:
            return Seen(is_of_registry=True, newer_base=newer_base)
        return Seen(
            is_of_registry=True,
            pointed=outcome.pointed,
            pointed_version=outcome.pointed_version,
            pushed=outcome.pushed,
            version=outcome.version,
            healed=outcome.healed,
            offered=offered,
            newer_base=newer_base,
        )

    def _newer_base(self) -> str:
        reference = self._settings.base_model
        return base.newer(reference, self._settings.state_dir / base.CACHE) if isinstance(reference, Reference) else ""

    def _open(self) -> Pusher:
        if self._pusher is None:
            settings = self._settings
            assert settings.registry is not None
            signer = Signer(settings.registry_sign_key) if settings.registry_sign_key else None
            self._store = open_store(settings.registry)
            self._pusher = Pusher(self._store, settings.checkpoint_dir, signer)
        return self._pusher

    def _is_behind(self, version: int) -> bool:
        """Whether the newest stable version is not the one that was pushed last."""
        stable = pointers.pointed(self._settings.checkpoint_dir, pointers.LATEST_STABLE)
        return stable not in {None, version}

    def _offer(self, outcome: Outcome, offered: str) -> str:
        """Hand a sidecar that begins with nothing what the registry has, once; return its digest, empty for none."""
        is_news = outcome.directory.is_new and outcome.pointed not in {"", offered}
        if not is_news or self._store is None or offer.is_there(self._settings.state_dir):
            return ""
        trust = Trust.of(self._settings.registry_public_key)
        made = offer.fetch(self._store, str(self._settings.registry), outcome.pointed, trust)
        if made is None:
            return ""
        offer.write(self._settings.state_dir, made)
        self._log.info("offered", digest=outcome.pointed)
        return outcome.pointed


def _stamp(directory: Path) -> tuple[int, ...]:
    """Return what changes with the names in a directory; nothing where there is none."""
    try:
        found = directory.stat()
    except FileNotFoundError:
        return ()
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns
