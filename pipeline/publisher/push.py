"""One pass of the publisher: look at pointer and directory, and bring the pointer in line.

Content comes first, under its digest, and is read back; the pointer moves last, and only from where it was seen. So a
pass can be cut off anywhere and repeated at any time, by any number of publishers.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from pipeline.artifacts.artifact import MODEL_SHA256, Manifest, withdrawn
from pipeline.artifacts.faults import Moved, RegistryFault
from pipeline.artifacts.published import mark_of, name_of, of_checkpoint, version_of
from pipeline.artifacts.reference import LATEST_STABLE
from pipeline.artifacts.signature import Signer
from pipeline.artifacts.store import Pointer, Store
from pipeline.artifacts.transfer import manifest_of, pull, push
from pipeline.checkpoints.catalogue import Digests
from pipeline.publisher.decision import Step, decide
from pipeline.publisher.directory import Directory, look

_TRIES = 4


@dataclass(frozen=True)
class Outcome:
    """What a pass has found and done.

    `pointed` is the digest that the pointer leads to, empty for none, of `pointed_version`, 0 for none; `pushed` what
    this pass has led it to, of `version`, 0 for none. `healed` is what was wrong in the registry and no longer is.
    """

    directory: Directory
    pointed: str = ""
    pointed_version: int = 0
    pushed: str = ""
    version: int = 0
    healed: tuple[RegistryFault, ...] = field(default=())


class Pusher:
    """Brings the registry's pointer in line with a directory."""

    def __init__(self, store: Store, directory: Path, signer: Signer | None = None) -> None:
        self._store, self._path, self._signer = store, directory, signer
        self._digests = Digests()
        self._marked: frozenset[str] = frozenset()

    def run(self, last: str) -> Outcome:
        """Make a pass. `last` is the digest that was pushed last.

        Raises RegistryFault, OSError or CheckpointError.
        """
        for _ in range(_TRIES):
            seen = self._store.pointer(LATEST_STABLE)
            here = look(self._path, self._digests)
            self._mark(here)
            there, wrong = self._leads_to(seen, last)
            step = decide(here, there, is_ours=bool(last and seen and seen.digest == last))
            outcome = Outcome(
                here,
                seen.digest if seen else "",
                version_of(there) if there else 0,
                healed=(wrong,) if wrong and step is not Step.STAY else (),
            )
            if step is Step.STAY:
                wrong = self._missing(outcome, there)
                if wrong is None:
                    return self._told(outcome, there)
                step, outcome = Step.PUSH, replace(outcome, healed=(wrong,))
            try:
                return self._move(step, seen, there, outcome)
            except Moved:
                continue  # by another publisher: perhaps there is nothing left to do
        raise RegistryFault("down", f"{LATEST_STABLE} was moved by others {_TRIES} times while it was to be moved here")

    def _mark(self, here: Directory) -> None:
        """Name what was pushed and is no longer stable as withdrawn, for nodes that look for older versions."""
        bad = frozenset(known.sha256 for known in here.known.values() if known.state == "unstable")
        if bad - self._marked:
            names = self._store.names()
            pushed = {name.rpartition("-")[2] for name in names if not name.startswith(mark_of(""))}
            for sha256 in bad:
                if sha256[:12] in pushed and mark_of(sha256) not in names:
                    push(self._store, withdrawn(sha256), mark_of(sha256))
        self._marked = bad

    def _leads_to(self, seen: Pointer | None, last: str) -> tuple[Manifest | None, RegistryFault | None]:
        """Return the manifest that the pointer leads to; None where there is none, with what is wrong, if anything."""
        if seen is None:
            return None, RegistryFault("lost", f"{LATEST_STABLE} is gone") if last else None
        if not seen.digest:
            return None, RegistryFault("garbage", f"{LATEST_STABLE} held what is no pointer")
        try:
            return manifest_of(self._store, seen.digest), None
        except RegistryFault as fault:
            if fault.kind != "lost" and not (fault.kind == "garbage" and seen.digest == last):
                raise
            return None, fault

    def _move(self, step: Step, seen: Pointer | None, there: Manifest | None, outcome: Outcome) -> Outcome:
        bad = _rolled_back(outcome.directory, there) if there is not None and step is not Step.PUSH else ""
        nothing = withdrawn(bad)
        stable = None if step is Step.WITHDRAW else outcome.directory.stable
        if stable is None:
            artifact, name, version = nothing, "", 0
        elif self._store.pointer(mark_of(stable.sha256)) is not None:
            return outcome  # another directory has the same model, and it was withdrawn there
        else:
            artifact, version = of_checkpoint(self._path, stable.version), stable.version
            name = name_of(artifact)
        digest = push(self._store, artifact, name, self._signer)
        self._store.point(LATEST_STABLE, digest, seen)
        return replace(outcome, pointed=digest, pointed_version=version, pushed=digest, version=version)

    def _missing(self, outcome: Outcome, there: Manifest | None) -> RegistryFault | None:
        """Return what is wrong with what the pointer leads to, where it is this directory's newest."""
        if not _is_newest(outcome, there):
            return None
        try:
            pull(self._store, outcome.pointed)
        except RegistryFault as fault:
            if fault.kind not in {"lost", "garbage"}:
                raise
            return fault
        return None

    @staticmethod
    def _told(outcome: Outcome, there: Manifest | None) -> Outcome:
        stable = outcome.directory.stable
        return replace(outcome, version=stable.version) if stable and _is_newest(outcome, there) else outcome


def _is_newest(outcome: Outcome, there: Manifest | None) -> bool:
    """Whether a manifest is of the directory's newest stable version."""
    stable = outcome.directory.stable
    return stable is not None and there is not None and there.annotations.get(MODEL_SHA256) == stable.sha256


def _rolled_back(here: Directory, there: Manifest) -> str:
    """Return the digest of a model that must not come back; empty where it may, as when its base model does."""
    known = here.known.get(version_of(there))
    return known.sha256 if known is not None and known.state != "stable" else ""
