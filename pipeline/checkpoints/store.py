"""The checkpoint directory as its one writer uses it: claimed, locked for each change, brought in line after it."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from pipeline.checkpoints.catalogue import Digests
from pipeline.checkpoints.checkpoint import Checkpoint, State, Verdict
from pipeline.checkpoints.publish import publish
from pipeline.checkpoints.reconcile import NOT_KNOWN_TO_BE_BAD, Overview, reconcile
from pipeline.model.features import Features
from pipeline.runtime.locks import Claim, locked

_NOT_OURS = frozenset({"state"})

_Seen = tuple[str | None, frozenset[tuple[str | int, ...]]]


class Store:
    """Publishes into `directory` and keeps the newest `keep` versions there; none up to `floor` is given again.

    Nodes are told of those whose state is in `announce`. `overview` is what was seen last.
    """

    def __init__(
        self,
        directory: Path,
        keep: int,
        announce: frozenset[State] = NOT_KNOWN_TO_BE_BAD,
        floor: int = 0,
    ) -> None:
        self.directory = directory
        self.overview = Overview()
        self._keep, self._announce, self._floor = keep, announce, floor
        self._claim = Claim(directory)
        self._digests = Digests()
        self._seen: _Seen | None = None

    def claim(self) -> None:
        """Make sure that the directory is there and ours. Raises OSError or DirectoryTaken."""
        self.directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        if self._claim.hold():
            self._seen = None

    def in_line(self, base: str | None) -> Overview:
        """Bring the directory in line where anything has changed in it, or was not as it should be the last time.

        `base` is the digest of the current base model, None while that is not known. Raises OSError or DirectoryTaken.
        """
        self.claim()
        seen = (base, _fingerprint(self.directory))
        if seen != self._seen or self.overview.problems:
            with locked(self.directory):
                self.overview = reconcile(
                    self.directory,
                    self._keep,
                    base,
                    floor=self._floor,
                    announce=self._announce,
                    digests=self._digests,
                )
            self._seen = seen
        return self.overview

    def publish(
        self,
        model: bytes,
        verdict: Verdict,
        *,
        step: int,
        samples: int,
        base: tuple[str, str],
        taken: Features | None = None,
        origin: str = "",
    ) -> Checkpoint:
        """Publish a model; `in_line` then does what follows from it.

        Raises OSError, or CheckpointError where no version is left.
        """
        created = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        with locked(self.directory):
            made = publish(
                self.directory,
                model,
                verdict,
                step=step,
                samples=samples,
                created=created,
                base=base,
                taken=taken,
                origin=origin,
                floor=self._floor,
            )
        self._floor = max(self._floor, made.version)
        self.overview = replace(self.overview, latest=made, own=self.overview.own if origin else made)
        return made


def _fingerprint(directory: Path) -> frozenset[tuple[str | int, ...]]:
    """Return what tells that something has changed: names, and of each what changes with its content."""
    with os.scandir(directory) as entries:
        names = [entry.name for entry in entries if entry.name not in _NOT_OURS]
    found = []
    for name in names:
        try:
            status = os.lstat(directory / name)
        except FileNotFoundError:
            continue
        found.append((name, status.st_mode, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
    return frozenset(found)
