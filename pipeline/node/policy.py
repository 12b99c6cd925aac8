"""Which checkpoint of a directory a node is to use: the newest, the newest stable one, or one version for ever."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pipeline.artifacts.reference import DIGEST
from pipeline.checkpoints.names import file_of, published, version_meant, version_of_model

LATEST, LATEST_STABLE, PINNED = "latest", "latest-stable", "pinned"


@dataclass(frozen=True)
class Policy:
    """A selection policy; ``version`` or, in a registry, ``digest`` is that of a pinned one."""

    kind: str
    version: int = 0
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``latest``, ``latest-stable``, ``pinned:VERSION`` or, for a registry, ``pinned:sha256:DIGEST``.

        `ValueError` says what was expected.
        """
        kind, _, version = text.partition(":")
        if text in {LATEST, LATEST_STABLE}:
            return cls(kind)
        if kind == PINNED and (pinned := version_meant(version)) is not None:
            return cls(kind, pinned)
        if kind == PINNED and DIGEST.fullmatch(version):
            return cls(kind, digest=version)
        raise ValueError(f"policy {text!r}: expected {LATEST}, {LATEST_STABLE} or {PINNED}:VERSION")

    def candidates(self, directory: Path) -> list[Path]:
        """Return the checkpoints to try, best first; empty where there is none. OSError where nobody can tell."""
        newest_first = published(directory)[::-1]
        if self.kind == LATEST_STABLE:
            newest_first = _stable(directory, newest_first)
        elif self.kind == PINNED:
            newest_first = [version for version in newest_first if version == self.version]
        return [file_of(directory, version) for version in newest_first]

    def withheld(self, directory: Path) -> tuple[Path, str] | None:
        """Return the newest checkpoint and why the gate does not call it stable, where `latest-stable` is to wait.

        None for other policies, and where there is no such checkpoint. OSError where nobody can tell.
        """
        newest = max(published(directory), default=None)
        if self.kind != LATEST_STABLE or newest is None:
            return None
        marks = _marks(directory, newest)
        if marks.get("state") == "stable":  # of another base model
            return None
        return file_of(directory, newest), str(marks.get("reason", "its .json does not say why"))


def _stable(directory: Path, newest_first: list[int]) -> list[int]:
    """Return the version that the link names, then the older stable ones of the same base model.

    Without the link, and with `latest.onnx` beside it, the sidecar has taken it away: the stable ones are of another
    base model, or there is none. Where there are no links at all, as in a copy, all that are marked stable count.
    """
    linked = _link_target(directory / "latest-stable.onnx")
    if linked is None:
        retired = _link_target(directory / "latest.onnx") is not None
        return [] if retired else [v for v in newest_first if _marks(directory, v).get("state") == "stable"]
    base = _marks(directory, linked).get("base_sha256")
    older = ((v, _marks(directory, v)) for v in newest_first if v < linked)
    return [linked, *(v for v, m in older if m.get("state") == "stable" and m.get("base_sha256") == base)]


def _link_target(link: Path) -> int | None:
    return version_of_model(Path(os.path.realpath(link)))  # the sidecar links through other links


def _marks(directory: Path, version: int) -> dict[str, object]:
    """Return what the sidecar beside a checkpoint says; nothing where it is absent or broken."""
    try:
        said = json.loads(file_of(directory, version, ".json").read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}
