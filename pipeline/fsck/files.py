"""The checkpoint directory: published models, registry, pointers, saved state."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from pipeline.exporter import checkpoint as sidecar
from pipeline.exporter import pins, pointers
from pipeline.exporter.checkpoint import Checkpoint, CheckpointError
from pipeline.exporter.locks import CHANGE_LOCK, locked
from pipeline.exporter.names import file_of, identifier, published
from pipeline.fsck.finding import Finding
from pipeline.model.verify import verify
from pipeline.registry import registry
from pipeline.state import savedstate, statefile


def check(directory: Path) -> Iterator[Finding]:
    """Look at everything that was published into `directory` and saved beside it.

    An exporter that is at work there waits meanwhile, so that nothing is seen half done, unless this user may only
    read. Raises OSError where the directory cannot be read.
    """
    with contextlib.ExitStack() as stack:
        if (directory / CHANGE_LOCK).exists():  # never made here: it would belong to whoever runs the verifier
            with contextlib.suppress(OSError):
                stack.enter_context(locked(directory))
        versions = published(directory)
        yield from (_model(directory, version) for version in versions)
        yield _index(directory, versions)
        yield from (_pointer(directory, pointer, versions) for pointer in (pointers.LATEST, pointers.LATEST_STABLE))
        yield _pins(directory)
    yield from _state(directory / "state")


def _model(directory: Path, version: int) -> Finding:
    path = file_of(directory, version)
    failed = [f"{each.name}: {each.detail}" for each in verify(path) if not each.passed]
    try:
        described = sidecar.read(directory, version)
    except CheckpointError as error:
        return Finding(path.name, False, str(error))
    if (described.version, described.sha256) != (version, registry.digest_of(path)):
        failed.append(f"its sidecar is of version {described.version}, digest {described.sha256[:12]}")
    return Finding(path.name, not failed, "; ".join(failed) or _summary(described))


def _summary(described: Checkpoint) -> str:
    return f"verifies; {described.state}, step {described.step:,}, {described.samples:,} samples"


def _index(directory: Path, versions: list[int]) -> Finding:
    try:
        faults = [f"{fault.id}: {fault.reason}" for fault in registry.verify(directory)]
        listed = {entry.id for entry in registry.load(directory).models}
    except registry.RegistryError as error:
        return Finding(registry.NAME, False, str(error))
    faults += [f"{identifier(version)} is not listed" for version in versions if identifier(version) not in listed]
    return Finding(registry.NAME, not faults, "; ".join(faults) or f"lists {len(listed)} models, each as it is")


def _pointer(directory: Path, pointer: str, versions: list[int]) -> Finding:
    leads_to = pointers.pointed(directory, pointer)
    if pointer == pointers.LATEST:
        expected = max(versions, default=None)
    else:
        stable = sidecar.newest_stable(directory)
        expected = stable.version if stable else None
    name = f"{pointer}.onnx"
    if leads_to != expected:
        return Finding(name, False, f"leads to version {leads_to}, expected {expected}")
    if expected is not None and not (directory / name).samefile(file_of(directory, expected)):
        return Finding(name, False, f"does not lead to {file_of(directory, expected).name}")
    return Finding(name, True, "leads nowhere yet" if expected is None else f"leads to version {expected}")


def _pins(directory: Path) -> Finding:
    try:
        pinned = pins.read(directory)
    except pins.PinsError as error:
        return Finding(pins.NAME, False, str(error))
    return Finding(pins.NAME, True, f"{len(pinned)} pinned")


def _state(directory: Path) -> Iterator[Finding]:
    for path in [*statefile.files(directory), *savedstate.of_other_bases(directory)]:
        try:
            state = savedstate.parse(statefile.read(path))
        except statefile.StateFileError as error:
            yield Finding(path.name, False, str(error))
        except FileNotFoundError:
            continue  # an exporter at work has replaced it meanwhile
        else:
            ring = state.regions.get("ring")
            held = f"{len(ring.words):,} rows up to sample {ring.count:,}" if ring else "no ring"
            yield Finding(path.name, True, f"{held}, {'a' if state.snapshot else 'no'} training snapshot")
