"""What the files of a checkpoint directory are called, and which versions it has seen."""

import re
from pathlib import Path

SUFFIXES = (".onnx", ".onnx.sha256", ".json")
"""The files of one checkpoint, in the order of removal: a reader that sees the model still finds its digest."""

_FILE = re.compile(r"model_v(\d{6,12})(\.onnx|\.onnx\.sha256|\.json)")
_ID = re.compile(r"model-v(\d{6,12})")


def stem(version: int) -> str:
    """Return the name of a checkpoint's files without their suffix."""
    return f"model_v{version:06d}"


def file_of(directory: Path, version: int, suffix: str = ".onnx") -> Path:
    """Return the path of one file of a checkpoint."""
    return directory / f"{stem(version)}{suffix}"


def identifier(version: int) -> str:
    """Return the checkpoint's id in the registry, which wants hyphens."""
    return f"model-v{version:06d}"


def version_of_identifier(name: str) -> int | None:
    """Return the version behind a registry id; None where it is not one of ours."""
    match = _ID.fullmatch(name)
    return int(match[1]) if match else None


def versions(directory: Path) -> dict[int, set[str]]:
    """Return every version that has files here, with their suffixes."""
    found: dict[int, set[str]] = {}
    for path in directory.iterdir():
        match = _FILE.fullmatch(path.name)
        if match:
            found.setdefault(int(match[1]), set()).add(match[2])
    return found


def published(directory: Path) -> list[int]:
    """Return the versions whose model is here, ascending."""
    return sorted(version for version, suffixes in versions(directory).items() if ".onnx" in suffixes)
