"""The random name of this installation."""

import logging
import re
import secrets
from pathlib import Path

from pipeline.correction import files

_logger = logging.getLogger(__name__)

_HOST_ID = re.compile(r"[0-9a-f]{32}")


def host_id(cache_dir: Path) -> str:
    """Return the id of this installation, 32 hex digits, making it on the first call.

    128 random bits of the operating system, and nothing else: no host name, address, machine id or
    processor goes into it, so it says nothing about the machine and cannot be worked out from one. It lies
    in `host-uuid` of the cache directory (the name and form vmaf-tune uses) and in no state file.

    Raises:
        OSError: the file can be neither read nor made.

    """
    path = cache_dir / "host-uuid"
    known = _read(path)
    if known:
        return known
    with files.locked(path):
        return _read(path) or _make(path)


def _read(path: Path) -> str | None:
    try:
        text = path.read_bytes().decode("ascii", "replace").strip()
    except FileNotFoundError:
        return None
    return text if _HOST_ID.fullmatch(text) else None


def _make(path: Path) -> str:
    if path.exists():
        kept = files.set_aside(path, "corrupt")
        _logger.warning("%s has no host id: kept as %s, a new one is made", path, kept.name)
    made = secrets.token_hex(16)
    files.write(path, f"{made}\n".encode())
    return made
