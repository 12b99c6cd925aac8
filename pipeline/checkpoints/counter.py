"""`.last-version`: the highest version that a checkpoint here ever had, also if its files are gone."""

from pathlib import Path

from pipeline.checkpoints.names import HIGHEST
from pipeline.runtime.durable import open_regular, write_durably

NAME = ".last-version"


def read(directory: Path) -> int:
    """Return the number; 0 if there is none: then names and registry say which versions are used. Raises OSError."""
    try:
        with open_regular(directory / NAME) as file:
            number = int(file.read(16))
    except (FileNotFoundError, ValueError):
        return 0
    return number if 0 < number <= HIGHEST else 0


def raise_to(directory: Path, version: int) -> None:
    """Make the number at least `version`, durably."""
    if version > read(directory):
        write_durably(directory / NAME, f"{version}\n".encode())
