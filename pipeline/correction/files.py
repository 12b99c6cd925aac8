"""Where state lies, and how several processes change it without loss.

It is in $XDG_CACHE_HOME/vmaf-tune/sidecar/<predictor-version>/<codec>/state.json.
"""

import itertools
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.correction.captures import CorrectionError
from pipeline.runtime import locks
from pipeline.runtime.durable import remove_leftovers, sync_directory, write_durably

_COMPONENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")


def default_cache_dir() -> Path:
    """Return the cache directory of this user.

    As the XDG Base Directory Specification says, an XDG_CACHE_HOME that is empty or relative counts as unset.

    Raises:
        CorrectionError: the user has no home directory and XDG_CACHE_HOME does not stand in for it.

    """
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if given.is_absolute():
        return given / "vmaf-tune" / "sidecar"
    try:
        return Path.home() / ".cache" / "vmaf-tune" / "sidecar"
    except RuntimeError as error:
        raise CorrectionError(
            "there is no home directory: set a directory with --cache-dir or XDG_CACHE_HOME"
        ) from error


def state_path(cache_dir: Path, predictor_version: str, codec: str) -> Path:
    """Return the state file's path; it lies below the cache directory whatever the two names are.

    Raises:
        CorrectionError: a name is empty, too long, or holds a separator, a NUL or anything else that is not
            a letter, a digit or one of . _ + - after a letter or digit.

    """
    version = path_component("predictor version", predictor_version)
    return cache_dir / version / path_component("codec", codec) / "state.json"


def path_component(field: str, name: str) -> str:
    """Return the name where it is safe as one component of a path.

    Raises:
        CorrectionError: see `state_path`; the message names the field.

    """
    if not _COMPONENT.fullmatch(name):
        raise CorrectionError(
            f"{field} {name[:80]!r}: 1 to 64 letters, digits, . _ + and - are expected, a letter or digit first"
        )
    return name


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock that belongs to the file at this path, alone among all threads and processes.

    The lock is on a file of its own, `<name>.lock`, that is never removed: the file itself is replaced at
    every write, and a lock on what was replaced would exclude nobody. The kernel releases it when its
    holder dies. The directory is made where it is missing, and what a killed writer had not finished is removed.
    """
    make_directory(path.parent)
    with locks.taken(path.with_name(path.name + ".lock")):
        remove_leftovers(path.parent, f"{path.name}.*")
        yield


def write(path: Path, data: bytes) -> None:
    """Write the file durably, for this user only; the caller holds its lock. Raises OSError."""
    write_durably(path, data, mode=0o600)


def set_aside(path: Path, why: str) -> Path:
    """Move the file to the first free name of `<name>.<why>-1`, `-2`, … and return it.

    A hard link fails where the name is taken, a rename would write over it.
    """
    for number in itertools.count(1):
        target = path.with_name(f"{path.name}.{why}-{number}")
        with suppress(FileExistsError):
            target.hardlink_to(path)
            break
    path.unlink()
    sync_directory(path.parent)
    return target


def make_directory(path: Path) -> None:
    """Make a directory and its missing parents, for this user only, so that they survive a crash."""
    if path.is_dir():
        return
    make_directory(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    sync_directory(path.parent)
