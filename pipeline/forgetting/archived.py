"""Out of the archive: files that hold some of the samples are written anew without them, the others stay."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pipeline.archive import names, table
from pipeline.forgetting.selection import Selection
from pipeline.runtime.durable import remove_leftovers, sync_directory, write_durably
from pipeline.runtime.locks import Claim


class Removed(NamedTuple):
    """How many samples of how many files; of these so many were removed whole."""

    samples: int = 0
    files: int = 0
    emptied: int = 0


def remove(root: Path, selection: Selection, *, only_count: bool = False) -> Removed:
    """Remove samples from the archive in `root`. Raises OSError, or DirectoryTaken where an archive writes there."""
    claim = Claim(root, ".archive.lock", "VMAFX_SIDECAR_ARCHIVE_DIR")
    if not only_count:
        claim.hold()
    try:
        return _remove(root, selection, only_count=only_count)
    finally:
        claim.release()


def _remove(root: Path, selection: Selection, *, only_count: bool) -> Removed:
    samples = files = emptied = 0
    if not only_count:
        for directory in root.glob(names.PARTS):
            remove_leftovers(directory, "part-*")
    for part in names.parts(root):
        names_of = {"job_id": selection.job, "tenant_id": selection.tenant, "node_id": selection.node}
        chosen = table.chosen(part.path, names_of, selection.group, selection.before)
        if not chosen.any():
            continue
        samples, files, emptied = samples + int(chosen.sum()), files + 1, emptied + bool(chosen.all())
        if only_count:
            continue
        if not chosen.all():
            write_durably(part.path, table.without(part.path, chosen), mode=0o600)
        else:
            part.path.unlink()
            sync_directory(part.path.parent)
    return Removed(samples, files, emptied)
