"""What the checkpoint directory says of versions: which is the newest stable one, and which were withdrawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.checkpoints import catalogue, counter, pointers
from pipeline.checkpoints.catalogue import Digests
from pipeline.checkpoints.checkpoint import Checkpoint, CheckpointError


@dataclass(frozen=True)
class Directory:
    """The directory at one moment.

    `stable` is what `latest-stable` leads to; None where it leads nowhere. `known` has what can be read, by version;
    `highest` is the highest version that there ever was; `is_pointed`: whether `latest` leads anywhere.
    """

    stable: Checkpoint | None
    known: Mapping[int, Checkpoint]
    highest: int
    is_pointed: bool

    @property
    def is_new(self) -> bool:
        """Whether nothing was ever published here."""
        return not self.known and not self.highest

    def has(self, version: int, sha256: str) -> bool:
        """Whether a model is one of these."""
        return version in self.known and self.known[version].sha256 == sha256

    def is_withdrawn(self, version: int) -> bool:
        """Whether a version that is here must not be used any more: rolled back, or of another base model."""
        known = self.known[version]
        if known.state != "stable":
            return True
        return self.is_pointed if self.stable is None else known.base_sha256 != self.stable.base_sha256


def look(path: Path, digests: Digests) -> Directory:
    """Look at a directory of checkpoints.

    Raises OSError where it cannot be listed, CheckpointError where what `latest-stable` leads to cannot be read now:
    then nobody can tell which is the newest.
    """
    found = catalogue.look(path, digests)
    pointed = pointers.pointed(path, pointers.LATEST_STABLE)
    stable = next((each for each in found if each.version == pointed), None)
    if pointed is not None and (stable is None or stable.described is None or not stable.is_whole):
        raise CheckpointError(stable.fault if stable and stable.fault else f"{path}: latest-stable leads to no model")
    return Directory(
        stable=stable.described if stable and stable.described and stable.described.state == "stable" else None,
        known={each.version: each.described for each in found if each.described is not None},
        highest=counter.read(path),
        is_pointed=pointers.pointed(path, pointers.LATEST) is not None,
    )
