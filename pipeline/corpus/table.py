"""A corpus in memory: one row a frame, features, scores, and where each came from; and its checks."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from pipeline.model.features import SIX, Columns, Features, MissingFeatures, column_named, listed
from pipeline.model.mos import HUNDRED, SUBJECTIVE, Scale, per_clip

FEATURES = SIX
TARGETS = ("vmaf", "vmaf_neg", "vmaf_phone")
"""Scores that are read wherever they are; others where they are asked for."""

_INTEGERS = ("clip_id", "frame")
_TEXTS = ("source", "codec", "part")
_DETAILS = {"crf": np.float32, "preset": np.str_, "height": np.float32, "node_id": np.str_, "tenant_id": np.str_}
ABOUT = (*_TEXTS, *_INTEGERS, *(name for name in _DETAILS if name != "height"))
"""Columns that say what a row is of: no features, no scores. A height may be a feature."""


class CorpusError(Exception):
    """A corpus that cannot be used; the message names the file, what is wrong and what was expected."""


class Table(Protocol):
    """A file of named columns."""

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """Its columns, in their order."""
        ...

    @property
    def features(self) -> Sequence[str]:
        """The columns that the file itself calls features; empty where it does not say."""
        ...

    @property
    def scaled(self) -> bool:
        """Whether its subjective scores are from 0 to 100 already."""
        ...

    def read(self, kinds: Mapping[str, type]) -> dict[str, npt.NDArray[Any]]:
        """Return columns by name, each as float32, int64 or str. Raises CorpusError."""
        ...


@dataclass(frozen=True)
class Corpus:
    """Rows of a corpus, as parallel arrays of length n; every array is read-only by convention.

    Frames of one source are alike: judge on whole sources that were left out, never on rows.
    """

    features: npt.NDArray[np.float32]
    """[n, k], as they were measured; columns in the order of `names`."""
    targets: Mapping[str, npt.NDArray[np.float32]]
    """[n] each, by name: 0 to 100; NaN where a subjective one is not known."""
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
    names: tuple[str, ...] = SIX
    """[k] what each feature is called."""
    details: Columns = field(default_factory=dict)
    """[n] each: crf, preset, height, node_id and tenant_id, where the file has them."""

    def __len__(self) -> int:
        return len(self.features)

    def target(self, name: str) -> npt.NDArray[np.float32]:
        """Return the scores called `name`; CorpusError lists the ones there are."""
        try:
            return self.targets[name]
        except KeyError:
            raise CorpusError(f"no target {name!r} in this corpus; it has {', '.join(self.targets)}") from None

    def inputs(self, taken: Features) -> npt.NDArray[np.float32]:
        """Return the inputs [n, len(taken)] of a model that takes these features; CorpusError where some are missing.

        A model that does not name its features is given as many as it takes in the order of `names`.
        """
        as_measured = not taken.mean.any() and bool((taken.std == 1).all())
        if as_measured and (taken.names == self.names or _suits_unnamed(taken, self.names)):
            return self.features
        try:
            return taken.matrix(self._columns(), taken.model or "corpus")
        except MissingFeatures as error:
            raise CorpusError(str(error)) from None

    def rows(self, which: npt.NDArray[Any] | slice) -> Self:
        """Return the rows that a mask, an index array or a slice picks, in that order."""
        changed: dict[str, Any] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, Mapping):
                changed[each.name] = {name: array[which] for name, array in value.items()}
            elif isinstance(value, np.ndarray):
                changed[each.name] = value[which]
        return replace(self, **changed)

    def only(self, part: str) -> Self:
        """Return the rows of one part of a packed corpus."""
        return self.rows(self.part == part)

    def with_score(self, name: str) -> Self:
        """Return the rows whose score of this name is known."""
        known = np.isfinite(self.target(name))
        return self if known.all() else self.rows(known)

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

    def _columns(self) -> dict[str, npt.NDArray[Any]]:
        return {**self.details, "codec": self.codec, **dict(zip(self.names, self.features.T, strict=True))}


def corpus_from(table: Table, features: Sequence[str], targets: Iterable[str], mos_range: Scale) -> Corpus:
    """Read and check the rows of a table with these features, the scores of TARGETS, and other `targets` by name.

    One score at least and `source` are required; `clip_id`, `frame`, `codec` and `part` are filled in where absent: one
    clip for each source. Subjective scores are brought from `mos_range` to 0..100. Raises CorpusError.
    """
    there = set(table.names)
    scores = [name for name in dict.fromkeys((*TARGETS, *targets)) if name in there]
    if not scores:
        wanted = ", ".join(dict.fromkeys((*targets, *TARGETS)))
        raise CorpusError(f"{table.name}: no score; expected a column {wanted}; there is {listed(table.names)}")
    read = _read(table, [*features, *scores])
    source = read["source"]
    n = len(source)
    if n == 0:
        raise CorpusError(f"{table.name}: no rows")
    clip = read.get("clip_id", np.unique(source, return_inverse=True)[1]).astype(np.int64)
    scale = HUNDRED if table.scaled else mos_range
    found = {name: _score(name, read, clip, scale, table.name) for name in scores}
    matrix = np.empty((n, len(features)), np.float32)
    for place, name in enumerate(features):
        matrix[:, place] = _finite(read, name, table.name)
        del read[name]
    return Corpus(
        features=matrix,
        targets=found,
        source=source,
        clip=clip,
        frame=read.get("frame", np.arange(n)),
        codec=read.get("codec", np.full(n, "unknown")),
        part=read.get("part", np.full(n, "")),
        names=tuple(features),
        details={name: read[name] for name in _DETAILS if name in read and not _says_nothing(read[name])},
    )


def joined(parts: Sequence[Corpus]) -> Corpus:
    """Return the rows of all parts, which have the same features and the first one's scores; clips stay apart."""
    shift = np.cumsum([0, *(1 + int(part.clip.max()) for part in parts[:-1])])
    arrays: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("features", "source", "frame", "codec", "part")
    }
    details = [name for name in _DETAILS if all(name in part.details for part in parts)]
    return Corpus(
        **arrays,
        clip=np.concatenate([part.clip + first for part, first in zip(parts, shift, strict=True)]),
        targets={name: np.concatenate([part.targets[name] for part in parts]) for name in parts[0].targets},
        names=parts[0].names,
        details={name: np.concatenate([part.details[name] for part in parts]) for name in details},
    )


def own_features(table: Table) -> tuple[str, ...]:
    """Return the features that the file names, or else libvmaf's six. Raises CorpusError where one is missing."""
    return tuple(table.features) or taken_by(table, [Features.of(SIX)])


def taken_by(table: Table, models: Iterable[Features]) -> tuple[str, ...]:
    """Return the features of a table that models take, each once. Raises CorpusError where one has no column."""
    found: dict[str, None] = {}
    for taken in models:
        if _suits_unnamed(taken, table.features):
            found |= dict.fromkeys(table.features)
            continue
        try:
            taken.columns(table.names, f"{table.name}{f', for {taken.model}' if taken.model else ''}")
        except MissingFeatures as error:
            widths = f"{len(table.features)} features; {taken.model or 'the model'} takes {len(taken)}"
            nameless = not taken.named and len(table.features) not in (0, len(taken))
            raise CorpusError(f"{table.name}: rows of {widths}" if nameless else str(error)) from None
        found |= dict.fromkeys(name for name in taken.names if column_named(name, table.names))
    return tuple(found)


def _suits_unnamed(taken: Features, names: Sequence[str]) -> bool:
    """Tell whether features that a file names can only be taken in their order: the model names none, and as many."""
    in_order = not taken.named and len(taken) == len(names)
    return in_order and any(column_named(name, names) is None for name in taken.names)


def converted(values: npt.NDArray[Any], name: str, kind: type, table: str) -> npt.NDArray[Any]:
    """Return a column as float32, int64 or str. Raises CorpusError; a detail that is no number says nothing: NaN."""
    try:
        return values.astype(kind)
    except (TypeError, ValueError, OverflowError) as error:
        if name in _DETAILS:
            return np.full(len(values), np.nan, np.float32)
        what = "does not hold whole numbers" if kind is np.int64 else "is not numeric"
        raise CorpusError(f"{table}: column {name} {what}") from error


def _read(table: Table, numbers: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    """Read numbers, and whatever columns there are about them; a number by the name that was asked for."""
    columns = {name: column_named(name, table.names) or name for name in numbers}
    about: dict[str, type] = dict.fromkeys(_TEXTS, np.str_) | dict.fromkeys(_INTEGERS, np.int64) | _DETAILS
    kinds = {name: kind for name, kind in about.items() if name in table.names}
    read = table.read({**kinds, **dict.fromkeys(columns.values(), np.float32)})
    return {name: read[name] for name in kinds} | {name: read[column] for name, column in columns.items()}


def _score(name: str, read: Columns, clip: npt.NDArray[np.int64], scale: Scale, table: str) -> npt.NDArray[np.float32]:
    if name not in SUBJECTIVE:
        return _finite(read, name, table)
    try:
        return per_clip(read[name].astype(np.float32), clip, scale)
    except ValueError as error:
        raise CorpusError(f"{table}: column {name}, {error}") from None


def _says_nothing(detail: npt.NDArray[Any]) -> bool:
    return detail.dtype == np.float32 and bool(np.isnan(detail).all())


def _finite(columns: Columns, name: str, table: str) -> npt.NDArray[np.float32]:
    numbers: npt.NDArray[np.float32] = columns[name].astype(np.float32, copy=False)
    bad = np.flatnonzero(~np.isfinite(numbers))
    if len(bad):
        raise CorpusError(f"{table}: column {name}, row {bad[0]}: {numbers[bad[0]]} is not a finite number")
    return numbers
