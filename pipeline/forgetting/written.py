"""Out of what was written about samples: checkpoints' verdicts, orders, reports, journals, the learning curve's file.

The figures and the orders stay, with hashes in the place of names.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from pipeline.checkpoints import checkpoint
from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.config import Settings
from pipeline.forgetting.names import Unnamed
from pipeline.registry import registry
from pipeline.runtime import control, journal, locks, regions
from pipeline.runtime.durable import write_durably
from pipeline.shm.mailbox import Mailbox, Torn
from pipeline.shm.segment import SHM_DIR, SegmentError

HISTORY = "history.sqlite"
_STANDING_STILL = ("ingest", "trainer", "archive", "exporter")
_SHORTEST = 4
_PATIENCE_S = 10.0


def remove(settings: Settings, unnamed: Unnamed) -> dict[str, int]:
    """Put hashes in the place of names; return in how many things of each kind.

    Raises OSError, ControlError, RegistryError, TimeoutError or sqlite3.Error. Files that cannot be parsed stay as they
    are: `named` tells where names still are.
    """
    directory = settings.checkpoint_dir
    found = {"checkpoints": 0, "registry": 0}
    if directory.is_dir():
        with locks.locked(directory):
            found = {"checkpoints": _checkpoints(directory, unnamed), "registry": _registry(directory, unnamed)}
    return {
        **found,
        "history": _history(settings.state_dir / HISTORY, unnamed),
        "orders": control.reword(settings, unnamed.text),
        "reports": _mailboxes(settings, unnamed),
    }


def named(settings: Settings, unnamed: Unnamed) -> list[str]:
    """Return the files and regions in which names still are, by a search of raw bytes, but for short names."""
    wanted = [name.encode() for name in unnamed.names if len(name) >= _SHORTEST]
    memory = [SHM_DIR / name for name in regions.leftovers(settings.instance_name)]
    files = [path for path in settings.checkpoint_dir.rglob("*") if path.is_file() and not path.is_symlink()]
    return [str(path) for path in (*memory, *files) if path.is_file() and _has(path, wanted)]


def _has(path: Path, wanted: list[bytes]) -> bool:
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return any(name in content for name in wanted)


def _checkpoints(directory: Path, unnamed: Unnamed) -> int:
    count = 0
    for known in checkpoint.read_all(directory)[0].values():
        changed = unnamed.checkpoint(known)
        if changed != known:
            checkpoint.rewrite(directory, changed)
            count += 1
    return count


def _registry(directory: Path, unnamed: Unnamed) -> int:
    path = directory / registry.NAME
    if not path.exists():
        return 0
    content = msgspec.json.decode(path.read_bytes())
    changed = unnamed.everywhere(content)
    if changed == content:
        return 0
    write_durably(path, msgspec.json.format(msgspec.json.encode(changed), indent=2) + b"\n")
    return 1


def _history(path: Path, unnamed: Unnamed) -> int:
    """Change the file; its pages are written anew, so that nothing is left in free ones."""
    if not path.exists():
        return 0
    with contextlib.closing(sqlite3.connect(path, timeout=_PATIENCE_S, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        changed = list(_changed(database.execute("SELECT version, sidecar FROM checkpoints").fetchall(), unnamed))
        database.executemany("UPDATE checkpoints SET sidecar = ? WHERE version = ?", changed)
        database.execute("COMMIT")
        database.execute("VACUUM")
    return len(changed)


def _changed(rows: list[tuple[int, str]], unnamed: Unnamed) -> Iterator[tuple[str, int]]:
    for version, sidecar in rows:
        known = msgspec.json.decode(sidecar, type=Checkpoint)
        changed = unnamed.checkpoint(known)
        if changed != known:
            yield msgspec.json.encode(changed).decode(), version


def _mailboxes(settings: Settings, unnamed: Unnamed) -> int:
    """Change reports and journals of the processes that stand still."""
    try:
        board, journals = regions.attach_board(settings.instance_name), journal.attach_journals(settings.instance_name)
    except SegmentError:
        return 0

    def report(payload: bytes) -> bytes:
        return msgspec.msgpack.encode(unnamed.everywhere(msgspec.msgpack.decode(payload)))

    def events(payload: bytes) -> bytes:
        lines = [msgspec.json.encode(unnamed.everywhere(msgspec.json.decode(line))) for line in payload.splitlines()]
        return b"\n".join(lines)

    boxes = [(board.box(role), report) for role in _STANDING_STILL]
    boxes += [(journals.box(role), events) for role in _STANDING_STILL]
    return sum(_rewritten(box, change) for box, change in boxes)


def _rewritten(box: Mailbox, change: Callable[[bytes], bytes]) -> bool:
    with contextlib.suppress(Torn):
        letter = box.read()
        if letter is not None:
            payload = change(letter.payload)
            box.publish_alone(payload if len(payload) <= box.capacity else b"")
            return payload != letter.payload
    return False
