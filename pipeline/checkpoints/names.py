"""What the files of a checkpoint directory are called, and which versions it has.

Only canonical names count: six digits, more without a leading zero, from 1 on; and only regular files are checkpoints.
Other files are not ours.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

SUFFIXES = (".onnx", ".onnx.sha256", ".json")
"""The files of one checkpoint, in the order of removal: a reader that sees the model still finds its digest."""

HIGHEST = 999_999_999
"""The last version that there can be: one a second for thirty years. A name beyond it is a mistake."""

VERSION = r"(?!0{6})(\d{6}|[1-9]\d{6,8})"
"""Matches a version in a canonical name."""

_FILE = re.compile(rf"model_v{VERSION}(\.onnx|\.onnx\.sha256|\.json)")
_ID = re.compile(rf"model-v{VERSION}")
_MEANT = re.compile(r"(?:model_)?v?(\d{1,12})(?:\.onnx)?")


def stem(version: int) -> str:
    """Return the name of a checkpoint's files without their suffix."""
    return f"model_v{version:06d}"


def file_of(directory: Path, version: int, suffix: str = ".onnx") -> Path:
    """Return the path of one file of a checkpoint."""
    return directory / f"{stem(version)}{suffix}"


def identifier(version: int) -> str:
    """Return the checkpoint's id in the registry, which requires hyphens."""
    return f"model-v{version:06d}"


def version_of_identifier(name: str) -> int | None:
    """Return the version behind a registry id; None where it is not one of ours."""
    match = _ID.fullmatch(name)
    return int(match[1]) if match else None


def version_of_model(path: Path) -> int | None:
    """Return the version of a checkpoint's model by its file name; None where it is not one."""
    match = _FILE.fullmatch(path.name)
    return int(match[1]) if match and match[2] == ".onnx" else None


def version_meant(text: str) -> int | None:
    """Return the version that a user calls 42, v000042, model_v000042 or model_v000042.onnx; None for other text."""
    match = _MEANT.fullmatch(text)
    return int(match[1]) if match else None


def versions(directory: Path) -> dict[int, dict[str, bool]]:
    """Return every version that has a name here, with its suffixes, and whether each is a regular file."""
    found: dict[int, dict[str, bool]] = {}
    for name, is_regular in _entries(directory):
        match = _FILE.fullmatch(name)
        if match:
            found.setdefault(int(match[1]), {})[match[2]] = is_regular
    return found


def published(directory: Path) -> list[int]:
    """Return the versions whose model is here, ascending."""
    return sorted(version for version, suffixes in versions(directory).items() if suffixes.get(".onnx"))


def strange(directory: Path) -> dict[str, str]:
    """Return what looks like a checkpoint's file and is not one, by name, with the reason."""
    return {
        name: "not a regular file" if _FILE.fullmatch(name) else "not a canonical name; expected model_v and six digits"
        for name, is_regular in _entries(directory)
        if name.startswith("model_v") and not (is_regular and _FILE.fullmatch(name))
    }


def _entries(directory: Path) -> Iterator[tuple[str, bool]]:
    with os.scandir(directory) as entries:
        for entry in entries:
            yield entry.name, entry.is_file(follow_symlinks=False)
