"""Names that go with the samples: of jobs, groups, tenants and nodes of which nothing is left."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.checkpoints.checkpoint import Checkpoint, GateMetrics, Part
from pipeline.forgetting.selection import Selection
from pipeline.ingest.dedup import name_hashes
from pipeline.runtime.messages import Names
from pipeline.shm.rows import RowBatch

KINDS = ("group", "tenant", "node")
"""The kinds of names that lead to somebody. A group may be called by its job."""

_LONG = 4
"""Names of so many characters are replaced wherever they are a word; shorter ones where they are said to be a name."""

Hashes = dict[str, set[int]]
"""Hashes by kind."""


def gone(batches: Iterable[tuple[RowBatch, NDArray[np.bool_]]], selection: Selection) -> Hashes:
    """Return the hashes of those to whom no row is left, once the chosen rows bool[n] of each batch have gone."""
    left: Hashes = {kind: set() for kind in KINDS}
    hashes: Hashes = {kind: set() for kind in KINDS}
    for kind, name in selection.whole().items():
        hashes[kind].update(name_hashes([name]).tolist())
    for rows, chosen in batches:
        kept = ~chosen & ~np.isnan(rows.score)
        for kind in KINDS:
            column = getattr(rows, kind)
            hashes[kind].update(column[chosen].tolist())
            left[kind].update(column[kept].tolist())
    return {kind: hashes[kind] - left[kind] for kind in KINDS}


def without(names: Names, hashes: Hashes) -> Names:
    """Return the remembered names but these."""
    known: Mapping[str, dict[int, str]] = msgspec.structs.asdict(names)
    return Names(**{kind: {k: v for k, v in of.items() if k not in hashes.get(kind, ())} for kind, of in known.items()})


class Unnamed:
    """Puts hashes in the place of names, in what was written about samples: verdicts, orders, events."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(sorted(set(names), key=lambda name: (-len(name), name)))
        either = "|".join(map(re.escape, self.names)) or r"(?!)"
        word = "|".join(re.escape(name) for name in self.names if len(name) >= _LONG) or r"(?!)"
        self._said = re.compile(rf"((?:group|node|tenant|job) )({either})(?=[ ,:]|$)|(?<!\w)()({word})(?!\w)")

    def text(self, text: str) -> str:
        """Return a sentence without the names."""
        return self._said.sub(lambda m: (m[1] or "") + label(m[2] or m[4]), text)

    def everywhere(self, value: Any) -> Any:
        """Return a value of JSON's types with all its sentences so."""
        if isinstance(value, str):
            return self.text(value) if " " in value else value
        if isinstance(value, list):
            return [self.everywhere(each) for each in value]
        if isinstance(value, dict):
            return {key: self.everywhere(each) for key, each in value.items()}
        return value

    def checkpoint(self, known: Checkpoint) -> Checkpoint:
        """Return what is known of a checkpoint without the names in verdict and figures."""
        metrics = {name: self._metrics(each) for name, each in known.metrics.items()}
        return msgspec.structs.replace(known, reason=self.text(known.reason), metrics=metrics)

    def _metrics(self, metrics: GateMetrics) -> GateMetrics:
        by = {kind: self._parts(of) if kind in KINDS else of for kind, of in metrics.by.items()}
        return msgspec.structs.replace(metrics, by=by)

    def _parts(self, parts: dict[str, Part]) -> dict[str, Part]:
        return {label(n) if (n := name.rstrip("'")) in self.names else name: part for name, part in parts.items()}


def label(name: str) -> str:
    """Return what is shown in the place of a name, as for all hashes without one."""
    return f"{int(name_hashes([name])[0]):016x}"
