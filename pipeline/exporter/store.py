"""The checkpoint directory as its one writer uses it: claimed, locked for each change, settled after it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pipeline.exporter import checkpoint as sidecar
from pipeline.exporter.checkpoint import Checkpoint, State, Verdict
from pipeline.exporter.locks import Claim, locked
from pipeline.exporter.publish import publish
from pipeline.exporter.settle import settle


@dataclass(frozen=True)
class Overview:
    """What is published: the newest checkpoint, the newest stable one, the newest that nodes are told of."""

    latest: Checkpoint | None = None
    stable: Checkpoint | None = None
    announced: Checkpoint | None = None
    states: dict[str, int] = field(default_factory=dict)


NOT_KNOWN_TO_BE_BAD: frozenset[State] = frozenset({"stable", "unproven"})
PROVEN: frozenset[State] = frozenset({"stable"})


class Store:
    """Publishes into `directory` and keeps the newest `keep` versions there; nodes are told of those in `announce`."""

    def __init__(self, directory: Path, keep: int, announce: frozenset[State] = NOT_KNOWN_TO_BE_BAD) -> None:
        self.directory = directory
        self._keep = keep
        self._announce = announce
        self._claim = Claim(directory)
        self._settled = False

    def open(self) -> None:
        """Make sure that the directory is there, ours and in order.

        Raises OSError, DirectoryTaken, or RegistryError and PinsError where those files are broken.
        """
        self.directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        if self._claim.hold():
            self._settled = False
        if not self._settled:
            with locked(self.directory):
                settle(self.directory, self._keep)
            self._settled = True

    def publish(self, model: bytes, verdict: Verdict, *, step: int, samples: int, base: tuple[str, str]) -> Checkpoint:
        """Publish a model. What follows from it is brought in line by the next `open`. Raises OSError."""
        created = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        with locked(self.directory):
            self._settled = False
            return publish(self.directory, model, verdict, step=step, samples=samples, created=created, base=base)

    def overview(self) -> Overview:
        """Read what is published."""
        known = sidecar.readable(self.directory)
        states = [each.state for each in known]
        return Overview(
            latest=known[-1] if known else None,
            stable=next((each for each in reversed(known) if each.state == "stable"), None),
            announced=next((each for each in reversed(known) if each.state in self._announce), None),
            states={state: states.count(state) for state in sorted(set(states))},
        )
