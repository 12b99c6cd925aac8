"""Where a node's checkpoints come from: a directory, or a registry."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from pipeline.node.policy import Policy


class Source(Protocol):
    """Gives checkpoints to try. Each call raises OSError where nobody can tell (now)."""

    def candidates(self) -> Iterable[Path]:
        """Give the checkpoints to try, best first, each with its digest beside it; raises OSError at any of them."""
        ...

    def withheld(self) -> tuple[Path, str] | None:
        """Return the newest checkpoint, and why it is none to predict with; None where that is not so."""
        ...

    def close(self) -> None:
        """Give up what is held."""
        ...


class DirectorySource:
    """The directory that a sidecar publishes into."""

    def __init__(self, directory: Path, policy: Policy) -> None:
        self._directory, self._policy = directory, policy
        if policy.digest:
            raise ValueError("pinned:sha256:… is for a registry; expected pinned:VERSION")

    def candidates(self) -> list[Path]:
        """Return the checkpoints by the policy."""
        return self._policy.candidates(self._directory)

    def withheld(self) -> tuple[Path, str] | None:
        """Return what the policy withholds."""
        return self._policy.withheld(self._directory)

    def close(self) -> None:
        """Nothing is held."""


def source_of(where: Path | str, policy: Policy, public_key: Path | str | None) -> Source:
    """Return the source that a path or a URL means. Raises ValueError where the policy does not fit it."""
    if isinstance(where, Path) or "://" not in where:
        return DirectorySource(Path(where), policy)
    from pipeline.node.registry_source import RegistrySource

    return RegistrySource(where, policy, Path(public_key) if public_key is not None else None)
