"""The checkpoint directory: published models, registry, pointers, saved state."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline.checkpoints import catalogue, pins, pointers
from pipeline.checkpoints.catalogue import Digests, Published
from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.checkpoints.names import file_of, identifier, strange
from pipeline.fsck.finding import Finding
from pipeline.model.verify import verify
from pipeline.registry import registry
from pipeline.runtime import control, saved_state, state_file
from pipeline.runtime.locks import CHANGE_LOCK, locked


def check(directory: Path) -> Iterator[Finding]:
    """Look at everything that was published into `directory` and saved beside it.

    An exporter that is at work there waits meanwhile, so that nothing is seen half done, unless this user may only
    read. Raises OSError where the directory cannot be read.
    """
    with contextlib.ExitStack() as stack:
        if (directory / CHANGE_LOCK).exists():  # never made here: it would belong to whoever runs the verifier
            with contextlib.suppress(OSError):
                stack.enter_context(locked(directory))
        known = catalogue.look(directory, Digests())
        yield from (_model(directory, each) for each in known)
        yield from (Finding(name, False, f"{reason}: ignored") for name, reason in strange(directory).items())
        yield _index(directory, [each.version for each in known])
        yield _pointer(directory, pointers.LATEST, lambda leads_to: catalogue.latest(known, leads_to))
        yield _pointer(directory, pointers.LATEST_STABLE, lambda leads_to: catalogue.stable(known, leads_to, None))
        yield _pins(directory)
    yield from _state(directory / "state")
    yield from _orders(directory / "state")


def _model(directory: Path, each: Published) -> Finding:
    path = file_of(directory, each.version)
    try:
        failed = [f"{check.name}: {check.detail}" for check in verify(path) if not check.passed]
    except OSError as error:
        failed = [f"{path}: {error.strerror}"]
    if each.fault and each.fault not in failed:
        failed.append(each.fault)
    return Finding(path.name, not failed, "; ".join(failed) or _summary(each.described))


def _summary(described: Checkpoint | None) -> str:
    assert described is not None, "what has no fault has a sidecar"
    return f"verifies; {described.state}, step {described.step:,}, {described.samples:,} samples"


def _index(directory: Path, versions: list[int]) -> Finding:
    try:
        faults = [f"{fault.id}: {fault.reason}" for fault in registry.verify(directory)]
        listed = {entry.id for entry in registry.load(directory).models}
    except registry.RegistryError as error:
        return Finding(registry.NAME, False, str(error))
    faults += [f"{identifier(version)} is not listed" for version in versions if identifier(version) not in listed]
    return Finding(registry.NAME, not faults, "; ".join(faults) or f"lists {len(listed)} models, all intact")


def _pointer(directory: Path, pointer: str, expect: Callable[[int | None], int | None]) -> Finding:
    """Check that a pointer leads to what it may: `latest-stable` to the newest stable one of some base model."""
    leads_to = pointers.pointed(directory, pointer)
    name, expected = f"{pointer}.onnx", expect(leads_to)
    if leads_to != expected:
        return Finding(name, False, f"leads to version {leads_to}, expected {expected}")
    if expected is None:
        left = [path.name for path in (directory / name, directory / f".{pointer}") if os.path.lexists(path)]
        return Finding(name, not left, f"leads nowhere, but {left[0]} is there" if left else "leads nowhere yet")
    try:
        same = (directory / name).samefile(file_of(directory, expected))
    except OSError as error:
        return Finding(name, False, f"{error.filename}: {error.strerror}")
    return Finding(name, same, f"{'leads' if same else 'does not lead'} to version {expected}")


def _pins(directory: Path) -> Finding:
    try:
        pinned = pins.read(directory)
    except pins.PinsError as error:
        return Finding(pins.NAME, False, str(error))
    return Finding(pins.NAME, True, f"{len(pinned)} pinned")


def _state(directory: Path) -> Iterator[Finding]:
    for path in [*state_file.files(directory), *saved_state.of_other_bases(directory)]:
        try:
            state = saved_state.parse(state_file.read(path))
        except state_file.StateFileError as error:
            yield Finding(path.name, False, str(error))
        except FileNotFoundError:
            continue  # an exporter at work has replaced it meanwhile
        except OSError as error:
            yield Finding(path.name, False, str(error))
        else:
            ring = state.regions.get("ring")
            held = f"{len(ring.words):,} rows up to sample {ring.count:,}" if ring else "no ring"
            yield Finding(path.name, True, f"{held}, {'a' if state.snapshot else 'no'} training snapshot")


def _orders(directory: Path) -> Iterator[Finding]:
    """Check that what operators have ordered can be followed, where they have ordered anything."""
    if not os.path.lexists(directory / control.FILE):
        return
    try:
        in_force, given = control.read(directory).control, control.history(directory)
    except control.ControlError as error:
        yield Finding(control.FILE, False, str(error))
        return
    lost = [
        path.name for each in in_force.withdrawn if not (path := control.withdrawn_model(directory, each)).is_file()
    ]
    held = f"{len(in_force.lines())} orders in force, {len(given)} given"
    yield Finding(control.FILE, not lost, f"{lost[0]} is missing" if lost else held)
