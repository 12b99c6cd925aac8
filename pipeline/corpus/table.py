"""A corpus in memory: one row a frame, the six canonical features, libvmaf's scores, and where each came from."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

FEATURES = ("adm2", "vif_scale0", "vif_scale1", "vif_scale2", "vif_scale3", "motion2")
TARGETS = ("vmaf", "vmaf_neg", "vmaf_phone")
COLUMNS = (*FEATURES, *TARGETS, "source", "clip_id", "codec", "frame", "part")
"""What is read of a table; other columns are ignored."""


class CorpusError(Exception):
    """A corpus that cannot be used; the message names the file, what is wrong and what was expected."""


@dataclass(frozen=True)
class Corpus:
    """Rows of a corpus, as parallel arrays of length n; every array is read-only by convention.

    Frames of one source are alike: judge on whole sources that were left out, never on rows.
    """

    features: npt.NDArray[np.float32]
    """[n, 6], columns in the order of FEATURES."""
    targets: Mapping[str, npt.NDArray[np.float32]]
    """[n] each, 0 to 100, by name; those of TARGETS that the file has."""
    source: npt.NDArray[np.str_]
    """[n] name of the reference video."""
    clip: npt.NDArray[np.int64]
    """[n] number of the encode: frames with the same number belong together."""
    frame: npt.NDArray[np.int64]
    """[n] index in the clip."""
    codec: npt.NDArray[np.str_]
    """[n] encoder."""
    part: npt.NDArray[np.str_]
    """[n] "stream" or "judge" in a packed corpus, empty elsewhere."""

    def __len__(self) -> int:
        return len(self.features)

    def target(self, name: str) -> npt.NDArray[np.float32]:
        """Return the scores called `name`; CorpusError lists the ones there are."""
        try:
            return self.targets[name]
        except KeyError:
            raise CorpusError(f"no target {name!r} in this corpus; it has {', '.join(self.targets)}") from None

    def rows(self, which: npt.NDArray[Any] | slice) -> Self:
        """Return the rows that a mask, an index array or a slice picks, in that order."""
        arrays = {field.name: getattr(self, field.name)[which] for field in fields(self) if field.name != "targets"}
        return replace(self, targets={name: score[which] for name, score in self.targets.items()}, **arrays)

    def only(self, part: str) -> Self:
        """Return the rows of one part of a packed corpus."""
        return self.rows(self.part == part)

    def mask_of(self, sources: Iterable[str]) -> npt.NDArray[np.bool_]:
        """Which rows [n] are of these sources; CorpusError names a source that the corpus has not."""
        wanted = list(sources)
        known = self.sources()
        unknown = sorted(set(wanted) - set(known))
        if unknown:
            raise CorpusError(f"no source {', '.join(unknown)} in this corpus; it has {', '.join(known)}")
        return np.isin(self.source, wanted)

    def sources(self) -> list[str]:
        """Names of the sources, sorted."""
        return sorted(np.unique(self.source).tolist())


def corpus_from_columns(columns: Mapping[str, npt.NDArray[Any]], path: Path) -> Corpus:
    """Check and assemble columns [n] by name; `path` is for messages.

    The features, one target at least and `source` are required; `clip_id`, `frame`, `codec` and `part`
    are filled in where absent: one clip for each source.
    """
    missing = [name for name in (*FEATURES, "source") if name not in columns]
    if missing:
        raise CorpusError(f"{path}: column {', '.join(missing)} is missing")
    targets = {name: _numbers(columns, name, path) for name in TARGETS if name in columns}
    if not targets:
        raise CorpusError(f"{path}: no score; expected a column {', '.join(TARGETS)}")
    source = columns["source"].astype(np.str_)
    n = len(source)
    if n == 0:
        raise CorpusError(f"{path}: no rows")
    return Corpus(
        features=np.column_stack([_numbers(columns, name, path) for name in FEATURES]),
        targets=targets,
        source=source,
        clip=_integers("clip_id", columns.get("clip_id", np.unique(source, return_inverse=True)[1]), path),
        frame=_integers("frame", columns.get("frame", np.arange(n)), path),
        codec=columns.get("codec", np.full(n, "unknown")).astype(np.str_),
        part=columns.get("part", np.full(n, "")).astype(np.str_),
    )


def _numbers(columns: Mapping[str, npt.NDArray[Any]], name: str, path: Path) -> npt.NDArray[np.float32]:
    try:
        numbers = columns[name].astype(np.float32)
    except (TypeError, ValueError) as error:
        raise CorpusError(f"{path}: column {name} is not numeric") from error
    bad = np.flatnonzero(~np.isfinite(numbers))
    if len(bad):
        raise CorpusError(f"{path}: column {name}, row {bad[0]}: {numbers[bad[0]]} is not a finite number")
    return numbers


def _integers(name: str, values: npt.NDArray[Any], path: Path) -> npt.NDArray[np.int64]:
    try:
        return values.astype(np.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise CorpusError(f"{path}: column {name} does not hold whole numbers") from error
