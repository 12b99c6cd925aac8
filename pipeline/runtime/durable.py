"""Files that are complete or absent, whenever the writer ends."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from io import BufferedReader
from pathlib import Path

Part = bytes | memoryview


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file to read; never a link, and never one that would block, as a pipe does.

    Raises FileNotFoundError also where something else has that name.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise _not_a_file(path) from None
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise _not_a_file(path)
    return os.fdopen(handle, "rb")


def _not_a_file(path: Path) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, "not a regular file", str(path))


def write_durably(path: Path, *parts: Part, mode: int = 0o644, replace: bool = True) -> None:
    """Make `path` hold `parts`: a reader sees the old file or the new one, also after a power cut.

    The temporary file starts with a dot and ends in `.tmp`, so that no reader's pattern matches it.
    Raises OSError when the disk refuses, FileExistsError when `path` exists and `replace` is false; `path` is then as
    it was, and the temporary file is gone.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(parts)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        if replace:
            temporary.replace(path)
        else:
            path.hardlink_to(temporary)
            temporary.unlink()
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def remove_leftovers(directory: Path, of: str = "*") -> None:
    """Remove what killed writers of `of`, a name or a pattern, had not finished; the caller keeps other writers out."""
    for path in directory.glob(f".{of}.tmp"):
        if path.is_symlink() or path.is_file():
            path.unlink(missing_ok=True)


def replace_link(path: Path, target: str) -> None:
    """Make `path` a symbolic link to `target`, atomically: a reader follows the old link or the new one."""
    if path.is_symlink() and str(path.readlink()) == target:
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    try:
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make the names in `directory` survive a power cut: a rename is durable only after this."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
