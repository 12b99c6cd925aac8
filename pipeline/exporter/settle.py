"""Bringing everything that is derived from the published checkpoints in line with them.

Registry, pointers and retention follow from the sidecars and the pins, so one idempotent pass, repeated after every
change and at start, also finishes what a dead writer began.
"""

from pathlib import Path

from pipeline.durable import sync_directory
from pipeline.exporter import checkpoint as sidecar
from pipeline.exporter import pins, pointers
from pipeline.exporter.checkpoint import Checkpoint
from pipeline.exporter.names import SUFFIXES, file_of, identifier, published, stem, version_of_identifier, versions
from pipeline.model.operators import OPSET
from pipeline.registry import registry


def settle(directory: Path, keep: int | None) -> None:
    """Point, register and remove: the newest `keep` versions stay, the newest stable one, and the pinned ones.

    `keep` None removes none.

    The caller holds the directory (`locks.locked`). Raises OSError where the disk refuses, RegistryError or PinsError
    where those files are broken; what was done is right as far as it goes, and the next pass does the rest.
    """
    _remove_leftovers(directory)
    there = published(directory)
    checkpoints = {each.version: each for each in sidecar.readable(directory)}
    stable = max((v for v, each in checkpoints.items() if each.state == "stable"), default=None)
    pointers.point(directory, pointers.LATEST, max(there, default=None))
    pointers.point(directory, pointers.LATEST_STABLE, stable)
    kept = {*(there[-keep:] if keep else there), *pins.read(directory).intersection(there)} | (
        {stable} if stable else set()
    )
    _register(directory, {version: checkpoints[version] for version in sorted(kept) if version in checkpoints})
    _remove(directory, {version for version in versions(directory) if version < max(there, default=0)} - kept)
    pointers.remove_unused(directory)


def _remove_leftovers(directory: Path) -> None:
    """Remove what a dead writer had not finished: nobody else writes while the directory is held."""
    for path in directory.glob(".*.tmp"):
        path.unlink(missing_ok=True)


def _register(directory: Path, checkpoints: dict[int, Checkpoint]) -> None:
    wanted = {identifier(version): _entry(each) for version, each in checkpoints.items()}
    ours = {e.id: e for e in registry.load(directory).models if version_of_identifier(e.id) is not None}
    registry.discard(directory, {name for name, entry in ours.items() if wanted.get(name) != entry})
    for name, entry in wanted.items():
        if ours.get(name) != entry:
            registry.add(directory, entry)


def _entry(checkpoint: Checkpoint) -> registry.Entry:
    notes = f"{checkpoint.state}: {checkpoint.reason} Step {checkpoint.step}, {checkpoint.samples} samples."
    return registry.Entry(
        id=identifier(checkpoint.version),
        onnx=f"{stem(checkpoint.version)}.onnx",
        sha256=checkpoint.sha256,
        opset=OPSET,
        notes=notes[: registry.NOTES_LIMIT],
    )


def _remove(directory: Path, unwanted: set[int]) -> None:
    for version in unwanted:
        for suffix in SUFFIXES:
            file_of(directory, version, suffix).unlink(missing_ok=True)
    if unwanted:
        sync_directory(directory)
