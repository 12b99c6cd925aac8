"""Bringing everything that is derived from the published checkpoints in line with them.

Registry, pointers and retention follow from what is there (`catalogue`) and the pins, so one idempotent pass, repeated
after every change and at start, also finishes what a dead writer began.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.checkpoints import catalogue, counter, pins, pointers
from pipeline.checkpoints.catalogue import Digests, Published
from pipeline.checkpoints.checkpoint import Checkpoint, CheckpointError, State
from pipeline.checkpoints.names import SUFFIXES, file_of, identifier, stem, version_of_identifier, versions
from pipeline.model.operators import OPSET
from pipeline.registry import registry
from pipeline.runtime.durable import remove_leftovers, sync_directory

NOT_KNOWN_TO_BE_BAD: frozenset[State] = frozenset({"stable", "unproven"})
PROVEN: frozenset[State] = frozenset({"stable"})


@dataclass(frozen=True)
class Overview:
    """What is published.

    latest          the newest checkpoint whose sidecar can be read
    own             the newest of these that comes from this training, and not from elsewhere
    stable          the one that `latest-stable` leads to; None also where its sidecar cannot be read
    announced       the newest of the current base model that nodes are told of
    states          how many there are by state
    incomparable    why no candidate can be compared with the last stable one; empty where that can be done
    problems        what is wrong in the directory, or kept something from being brought in line
    """

    latest: Checkpoint | None = None
    own: Checkpoint | None = None
    stable: Checkpoint | None = None
    announced: Checkpoint | None = None
    states: dict[str, int] = field(default_factory=dict)
    incomparable: str = ""
    problems: tuple[Exception, ...] = ()


def reconcile(
    directory: Path,
    keep: int | None,
    base: str | None,
    *,
    floor: int = 0,
    announce: frozenset[State] = NOT_KNOWN_TO_BE_BAD,
    digests: Digests | None = None,
) -> Overview:
    """Point, register and remove, each as far as it goes; return what is there then, and what is wrong.

    `base` is the digest of the current base model: only a stable checkpoint of it is led to. While it is not known
    (None), `latest-stable` stays with the base model that it leads to, and nothing is removed. `keep` is the number of
    newest versions that stay (`catalogue.kept`), None removes none. No version up to `floor` is given again. Nodes are
    told of checkpoints of the current base model whose state is in `announce`.

    The caller holds the directory (`locks.locked`). Raises OSError where the directory cannot be listed.
    """
    known = catalogue.look(directory, digests or Digests())
    problems: list[Exception] = [CheckpointError(each.fault) for each in known if each.fault]

    def attempt(step: Callable[[], None]) -> None:
        try:
            step()
        except (OSError, registry.RegistryError, pins.PinsError) as error:
            problems.append(error)

    latest = catalogue.latest(known, pointers.pointed(directory, pointers.LATEST))
    pointed = pointers.pointed(directory, pointers.LATEST_STABLE)
    stable = catalogue.stable(known, pointed, base)
    attempt(lambda: remove_leftovers(directory))
    attempt(lambda: pointers.point(directory, pointers.LATEST, latest))
    attempt(lambda: pointers.point(directory, pointers.LATEST_STABLE, stable))
    stays = {each.version for each in known}
    if keep and base:
        try:
            stays &= catalogue.kept(known, keep, base) | pins.read(directory) | ({latest, stable} - {None})
            attempt(lambda: _remove(directory, stays))
        except pins.PinsError as error:
            problems.append(error)
    left = [each for each in known if each.version in stays]
    attempt(lambda: _register(directory, left, floor))
    attempt(lambda: pointers.remove_unused(directory))
    readable = [each.described for each in left if each.described is not None]
    states = [each.state for each in readable]
    may_be_told = [each.described for each in reversed(left) if each.is_whole and each.described is not None]
    return Overview(
        latest=readable[-1] if readable else None,
        own=next((each for each in reversed(readable) if not each.origin), None),
        stable=next((each for each in readable if each.version == stable), None),
        announced=next((each for each in may_be_told if each.state in announce and each.base_sha256 == base), None),
        states={state: states.count(state) for state in sorted(set(states))},
        incomparable=catalogue.incomparable(left, stable, base or catalogue.base_of(known, pointed)),
        problems=tuple(problems),
    )


def _register(directory: Path, left: list[Published], floor: int) -> None:
    """List what can be read; of what cannot, the entry stays."""
    unread = {identifier(each.version) for each in left if each.described is None}
    wanted = {identifier(each.version): _entry(each.described) for each in left if each.described is not None}
    ours = {e.id: e for e in registry.load(directory).models if version_of_identifier(e.id) is not None}
    used_up = (version_of_identifier(name) or 0 for name in (*ours, *wanted))
    counter.raise_to(directory, max([floor, *used_up]))
    registry.discard(directory, {name for name, entry in ours.items() if wanted.get(name) != entry} - unread)
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


def _remove(directory: Path, stays: set[int]) -> None:
    """Remove the files of older versions that do not stay, and of those that a dead writer left without a model.

    Something else in the place of a model is left alone, with what lies beside it.
    """
    there = versions(directory)
    newest = max((version for version, suffixes in there.items() if suffixes.get(".onnx")), default=0)
    unwanted = [v for v, suffixes in there.items() if v < newest and v not in stays and suffixes.get(".onnx", True)]
    for version in unwanted:
        for suffix in SUFFIXES:
            if there[version].get(suffix):
                file_of(directory, version, suffix).unlink(missing_ok=True)
    if unwanted:
        sync_directory(directory)
