"""What a checkpoint directory holds, as far as it can be read and is whole, and what follows: pointers and retention.

What cannot be read leads to no change: a pointer stays where it is, and nothing is removed.
"""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline.checkpoints import checkpoint as sidecar
from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.checkpoints.names import file_of, stem
from pipeline.runtime.durable import open_regular

KEPT_STABLE = 2
"""Stable checkpoints of a base model that are kept, so that one is left after a rollback."""

KEPT_BASES = 4
"""Base models whose stable checkpoints are kept: one that comes back has its own again."""


@dataclass(frozen=True)
class Published:
    """One version: what its sidecar says, None where that cannot be read; whether its model is what was published.

    `is_whole` None: that cannot be read now. `fault` says what is wrong, empty where nothing is.
    """

    version: int
    described: Checkpoint | None
    is_whole: bool | None
    fault: str

    def is_stable_of(self, base: str | None) -> bool:
        """Whether it is known as a stable checkpoint of the base model with this digest."""
        known = self.described
        return known is not None and known.state == "stable" and known.base_sha256 == base


class Digests:
    """SHA-256 of files, computed again only where a file has changed."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[tuple[int, ...], str]] = {}

    def of(self, path: Path) -> str:
        """Return the digest. Raises OSError."""
        with open_regular(path) as file:
            status = os.fstat(file.fileno())
            stamp = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            if self._known.get(path, ((),))[0] != stamp:
                self._known[path] = stamp, hashlib.file_digest(file, "sha256").hexdigest()
        return self._known[path][1]

    def forget_all_but(self, paths: Iterable[Path]) -> None:
        """Keep nothing of files that are gone."""
        self._known = {path: self._known[path] for path in paths if path in self._known}


def look(directory: Path, digests: Digests) -> list[Published]:
    """Return the published versions, oldest first. Raises OSError where the directory cannot be listed."""
    checkpoints, unreadable = sidecar.read_all(directory)
    versions = sorted({*checkpoints, *unreadable})
    found = []
    for version in versions:
        described = checkpoints.get(version)
        is_whole, fault = _is_whole(directory, version, described, digests)
        found.append(Published(version, described, is_whole, unreadable.get(version, fault)))
    digests.forget_all_but(file_of(directory, version) for version in versions)
    return found


def _is_whole(directory: Path, version: int, described: Checkpoint | None, digests: Digests) -> tuple[bool | None, str]:
    model, twin = file_of(directory, version), file_of(directory, version, ".onnx.sha256")
    try:
        digest = digests.of(model)
        with open_regular(twin) as file:
            said = file.read(len(digest) + 2)
    except FileNotFoundError as error:
        return False, f"{error.filename}: {error.strerror}"
    except OSError as error:
        return None, f"{error.filename or model}: {error.strerror}"
    if said != f"{digest}\n".encode():
        return False, f"{model}: its digest is not the one in {twin.name}"
    if described is not None and described.sha256 != digest:
        return False, f"{model}: its digest is not the one in {stem(version)}.json"
    return True, ""


def latest(known: list[Published], pointed: int | None) -> int | None:
    """Return the version that `latest` is to lead to, from what it leads to now: the newest that is whole."""
    good = {each.version for each in known if each.is_whole}
    unread = {each.version for each in known if each.is_whole is None}
    return _leading(good, unread, pointed)


def stable(known: list[Published], pointed: int | None, base: str | None) -> int | None:
    """Return the version that `latest-stable` is to lead to: the newest whole one that is stable of `base`.

    Base None: not known now; it is then that of the checkpoint which the pointer leads to.
    """
    base = base or base_of(known, pointed)
    good = {each.version for each in known if each.is_whole and each.is_stable_of(base)}
    unread = {
        each.version
        for each in known
        if (each.described is None and each.is_whole is not False)
        or (each.is_whole is None and each.is_stable_of(base))
    }
    return _leading(good, unread, pointed)


def _leading(good: set[int], unread: set[int], pointed: int | None) -> int | None:
    """Return the newest good one; where the pointer leads to one that cannot be read, that, until a newer is good."""
    return max(good | (unread & {pointed}), default=None)


def base_of(known: list[Published], version: int | None) -> str | None:
    """Return the digest of the base model that a version is of; None where that is not known."""
    return next((each.described.base_sha256 for each in known if each.version == version and each.described), None)


def incomparable(known: list[Published], leads_to: int | None, base: str | None) -> str:
    """Return why the last stable checkpoint of `base` cannot be compared with; empty where it can, or there is none."""
    for each in reversed(known):
        in_question = each.version == leads_to or each.is_stable_of(base)
        if in_question and each.version >= (leads_to or 0) and (each.described is None or not each.is_whole):
            return each.fault
    return ""


def kept(known: list[Published], keep: int, base: str | None) -> set[int]:
    """Return the versions that stay.

    The newest `keep`, the newest `KEPT_STABLE` stable ones of `base` and of the other newest base models, and whatever
    cannot be read.
    """
    stable_of: dict[str, list[int]] = {}
    for each in reversed(known):
        if each.described is not None and each.described.state == "stable" and each.is_whole is not False:
            stable_of.setdefault(each.described.base_sha256, []).append(each.version)
    bases = sorted(stable_of, key=lambda digest: (digest == base, stable_of[digest][0]), reverse=True)
    stays = {version for digest in bases[:KEPT_BASES] for version in stable_of[digest][:KEPT_STABLE]}
    stays |= {each.version for each in known if each.described is None or each.is_whole is None}
    return stays | {each.version for each in known[-keep:]}
