"""Which checkpoint of a directory a node is to use: the newest, the newest stable one, or one version for ever."""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

LATEST, LATEST_STABLE, PINNED = "latest", "latest-stable", "pinned"

_CHECKPOINT = re.compile(r"model_v(\d+)\.onnx")
_VERSION = re.compile(r"(?:model_)?v?(\d+)")


@dataclass(frozen=True)
class Policy:
    """A selection policy; ``version`` is that of a pinned one."""

    kind: str
    version: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``latest``, ``latest-stable`` or ``pinned:VERSION``; `ValueError` says what was expected."""
        kind, _, version = text.partition(":")
        if text in {LATEST, LATEST_STABLE}:
            return cls(kind)
        if kind == PINNED and (match := _VERSION.fullmatch(version)):
            return cls(kind, int(match[1]))
        raise ValueError(f"policy {text!r}: expected {LATEST}, {LATEST_STABLE} or {PINNED}:VERSION")

    def candidates(self, directory: Path) -> list[Path]:
        """Return the checkpoints to try, best first; empty where there is none. OSError where nobody can tell."""
        published = _published(directory)
        if self.kind == PINNED:
            return [path for path in published if version_of(path) == self.version]
        if self.kind == LATEST:
            return published
        return _stable(directory, published)


def version_of(path: Path) -> int:
    """Return the version in a checkpoint's file name; 0 where it is not one."""
    match = _CHECKPOINT.fullmatch(path.name)
    return int(match[1]) if match else 0


def _published(directory: Path) -> list[Path]:
    with os.scandir(directory) as entries:
        return sorted(filter(version_of, (directory / entry.name for entry in entries)), key=version_of, reverse=True)


def _stable(directory: Path, published: list[Path]) -> list[Path]:
    """Return what the link names, then the older stable ones of the same base model.

    Without the link, and with `latest.onnx` beside it, the sidecar has taken it away: the stable ones are of another
    base model, or there is none. Where there are no links at all, as in a copy, all that are marked stable count.
    """
    linked = _link_target(directory / "latest-stable.onnx")
    if linked is None:
        retired = _link_target(directory / "latest.onnx") is not None
        return [] if retired else [path for path in published if _marks(path).get("state") == "stable"]
    older = (path for path in published if version_of(path) < version_of(linked))
    base = _marks(linked).get("base_sha256")
    return [linked, *(p for p in older if (m := _marks(p)).get("state") == "stable" and m.get("base_sha256") == base)]


def _link_target(link: Path) -> Path | None:
    target = link.with_name(Path(os.path.realpath(link)).name)  # the sidecar links through other links
    return target if version_of(target) else None


def _marks(path: Path) -> dict[str, object]:
    """Return what the sidecar beside a checkpoint says; nothing where it is absent or broken."""
    try:
        said = json.loads(path.with_suffix(".json").read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}
