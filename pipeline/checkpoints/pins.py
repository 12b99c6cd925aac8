"""`pins.json`: the versions that are exempt from retention."""

from pathlib import Path

import msgspec

from pipeline.runtime.durable import write_durably

NAME = "pins.json"


class PinsError(Exception):
    """A pins file that cannot be read; the message says why."""


class Pins(msgspec.Struct, frozen=True):
    """The file's content."""

    pinned: list[int] = []


def read(directory: Path) -> set[int]:
    """Return the pinned versions; none where the file is absent.

    Raises PinsError where it is broken: what is pinned is then unknown, so nothing may be removed.
    """
    path = directory / NAME
    try:
        return set(msgspec.json.decode(path.read_bytes(), type=Pins).pinned)
    except FileNotFoundError:
        return set()
    except OSError as error:
        raise PinsError(f"{path}: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PinsError(f"{path}: {error}") from None


def write(directory: Path, versions: set[int]) -> None:
    """Replace the pinned versions, durably."""
    write_durably(directory / NAME, msgspec.json.encode(Pins(sorted(versions))) + b"\n")
