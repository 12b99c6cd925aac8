"""Out of the saved state: every file of it, also those that are kept of other base models or were set aside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np

from pipeline.forgetting import names as labels
from pipeline.forgetting.names import Unnamed
from pipeline.forgetting.selection import Selection
from pipeline.ingest.dedup import name_hashes
from pipeline.runtime import messages, saved_state, state_file
from pipeline.runtime.durable import remove_leftovers, sync_directory
from pipeline.runtime.saved_state import SavedRows, SavedState
from pipeline.runtime.state_file import StateFileError
from pipeline.shm.rows import RowBatch, mark_removed


def remove(directory: Path, selection: Selection, unnamed: Unnamed, *, only_count: bool = False) -> dict[str, int]:
    """Remove samples from every state in `directory`, and names; return how many samples, by file. Raises OSError.

    A file that cannot be parsed, of which nobody can say whose samples it holds, is removed; -1 in its place.
    """
    removed = {}
    if not only_count:
        remove_leftovers(directory, "state-*")
    for path in _files(directory):
        try:
            state = saved_state.parse(state_file.read(path))
        except StateFileError:
            removed[path.name] = -1
            if not only_count:
                path.unlink()
                sync_directory(path.parent)
            continue
        changed, count = _without(state, selection, unnamed)
        removed[path.name] = count
        if not only_count:
            saved_state.rewrite(path, changed)
    return removed


def doubtful(directory: Path, selection: Selection) -> int:
    """Return of how many rows of saved states nobody can tell whether they are among the selection."""
    count = 0
    for path in _files(directory):
        with suppress(StateFileError, OSError):
            state = saved_state.parse(state_file.read(path))
            for saved in state.regions.values():
                count += selection.doubtful(RowBatch.over(np.array(saved.words, np.float32), state.n_features))
    return count


def without_rows(snapshot: bytes) -> bytes:
    """Return a trainer's snapshot without the rows that its probe has, which may be anybody's."""
    decoded = messages.decode_snapshot(snapshot)
    return messages.encode(msgspec.structs.replace(decoded, probe=b"", probe_scores=b""))


def without_names(names: bytes, gone: labels.Hashes) -> bytes:
    """Return the remembered names but those with these hashes."""
    return messages.encode(labels.without(messages.decode_names(names), gone))


def without_senders(position: bytes, gone: labels.Hashes) -> bytes:
    """Return how far a pool has read its stream, without the nodes whose names have these hashes; the counts stay."""
    decoded = messages.decode_position(position)
    for node in list(decoded.senders):
        if int(name_hashes([node])[0]) in gone["node"]:
            decoded.drop(node)
    return messages.encode(decoded)


def _files(directory: Path) -> Iterator[Path]:
    if directory.is_dir():
        for folder in (directory, directory / saved_state.BEFORE_RESET):
            yield from (path for path in sorted(folder.glob("state-*.bin*")) if path.is_file())
            yield from (path for path in sorted(folder.glob("base-*.bin*")) if path.is_file())


def _without(state: SavedState, selection: Selection, unnamed: Unnamed) -> tuple[SavedState, int]:
    regions, batches = {}, []
    for name, saved in state.regions.items():
        rows = RowBatch.over(np.array(saved.words, np.float32), state.n_features)
        chosen = selection.rows(rows)
        batches.append((RowBatch.over(rows.words.copy(), state.n_features), chosen))
        if name == "ring":  # its sequences have no gaps
            mark_removed(rows, chosen)
        else:
            rows = rows.select(~chosen)
        regions[name] = SavedRows(rows.words, saved.count)
    gone = labels.gone(batches, selection)
    changed = replace(
        state,
        regions=regions,
        snapshot=state.snapshot and without_rows(state.snapshot),
        names=state.names and without_names(state.names, gone),
        stream=state.stream and without_senders(state.stream, gone),
        reports={role: _unnamed(report, unnamed) for role, report in state.reports.items()},
    )
    return changed, sum(int(chosen.sum()) for _, chosen in batches)


def _unnamed(report: bytes, unnamed: Unnamed) -> bytes:
    return msgspec.msgpack.encode(unnamed.everywhere(msgspec.msgpack.decode(report)))
