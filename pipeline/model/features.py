"""What a model takes: the names of its features in order, and how measured values become its inputs.

The names come from the `.json` beside the model. Of the platform's models it has `feature_order` or `features`, for a
second input `codec_block_layout` or `encoder_vocab`, and `feature_mean` and `feature_std` where the standardisation is
left to the caller. Without names the width decides: six are libvmaf's own, others are f0, f1 and so on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
import numpy.typing as npt

from pipeline.model.codec_block import block_column, column_for, layout
from pipeline.model.errors import UnusableModel

SIX = ("adm2", "vif_scale0", "vif_scale1", "vif_scale2", "vif_scale3", "motion2")
"""libvmaf's features that the tiny models take, in their order."""

INTEGER = "integer_"
"""What libvmaf's logs and tables made of them begin the name of a feature with that was computed in fixed point."""

_LIMIT = 1 << 20
_LISTED = 12

Columns = Mapping[str, npt.NDArray[np.generic]]


class MissingFeatures(Exception):
    """Columns that a model takes are not there; the message lists what is missing and what there is."""

    def __init__(self, where: str, taken: int, missing: Sequence[str], there: Iterable[str]) -> None:
        self.missing = tuple(missing)
        super().__init__(
            f"{where}: no column for {listed(missing)}, {len(missing)} of {taken} features; "
            f"there is {listed(sorted(there)) or 'none'}"
        )


@dataclass(frozen=True)
class Features:
    """The features of a flat vector, in its order.

    names   of each
    mean    float64[n] to subtract from the measured value, and
    std     float64[n] to divide by then; 0 and 1 where the graph standardises itself
    named   whether the model has said the names; False: they were made of its width
    model   what messages call the model
    """

    names: tuple[str, ...]
    mean: npt.NDArray[np.float64]
    std: npt.NDArray[np.float64]
    named: bool
    model: str = ""

    @classmethod
    def of(cls, names: Sequence[str], *, named: bool = True, model: str = "") -> Features:
        """Return features that are taken as they were measured."""
        return cls(tuple(names), np.zeros(len(names)), np.ones(len(names)), named, model)

    def __len__(self) -> int:
        return len(self.names)

    def columns(self, there: Iterable[str], where: str) -> tuple[str, ...]:
        """Return which columns of a table are needed, each once; raises MissingFeatures, which names `where`."""
        known = set(there)
        found = {name: _columns_for(name, known) for name in self.names}
        missing = [column_for(name) or name for name, columns in found.items() if columns is None]
        if missing:
            raise MissingFeatures(where, len(self), list(dict.fromkeys(missing)), known)
        return tuple(dict.fromkeys(column for columns in found.values() for column in columns or ()))

    def matrix(self, columns: Columns, where: str) -> npt.NDArray[np.float32]:
        """Return the model's inputs float32[rows, n] of columns [rows] by name; raises MissingFeatures."""
        needed = self.columns(columns, where)
        rows = len(columns[needed[0]])
        inputs = np.empty((rows, len(self)), np.float32)
        for i, name in enumerate(self.names):
            inputs[:, i] = (self._measured(name, columns, rows) - self.mean[i]) / self.std[i]
        return inputs

    def _measured(self, name: str, columns: Columns, rows: int) -> npt.NDArray[np.float64]:
        column = column_named(name, columns)
        if column is None:
            return block_column(name, self.names, columns, rows)
        return columns[column].astype(np.float64)


def default_names(width: int) -> tuple[str, ...]:
    """Return the names of features that nobody has named."""
    return SIX if width == len(SIX) else tuple(f"f{place}" for place in range(width))


def features_of(model: Path, inputs: Sequence[tuple[str, int]]) -> Features:
    """Return what the model at `model` takes, by its `.json` or else by (name, width) of its inputs in graph order.

    Raises UnusableModel where the `.json` cannot be read, or does not fit the graph.
    """
    width = sum(each for _, each in inputs)
    said = _read(model)
    names = said.names(inputs[0][1], width)
    if names and len(names) != width:
        shape = " + ".join(f"{name}[{each}]" for name, each in inputs)
        raise _Said.unfit(model, f"{len(names)} features; the graph takes {width} ({shape})")
    scaling = Features.of(names or _unnamed(inputs), named=bool(names), model=model.name)
    for name, found in (("feature_mean", said.feature_mean), ("feature_std", said.feature_std)):
        if found and len(found) not in (inputs[0][1], width):
            raise _Said.unfit(model, f"{name} of {len(found)} features; the graph takes {width}")
    scaling.mean[: len(said.feature_mean)] = said.feature_mean
    scaling.std[: len(said.feature_std)] = said.feature_std
    return scaling


def listed(names: Sequence[str]) -> str:
    """Return names for a message, the first of many."""
    more = len(names) - _LISTED
    return ", ".join(islice(names, _LISTED)) + (f" and {more} more" if more > 0 else "")


class _Said(msgspec.Struct):
    """The part of a model's `.json` that says what it takes; all of it may be absent."""

    feature_order: list[str] = []
    features: list[str] = []
    codec_block_layout: list[str] = []
    encoder_vocab: list[str] = []
    feature_mean: list[float] = []
    feature_std: list[Annotated[float, msgspec.Meta(gt=0)]] = []

    def names(self, first: int, width: int) -> tuple[str, ...]:
        """Return the names of all inputs, `first` of the first one and `width` in all; none where none are said."""
        named = tuple(self.feature_order or self.features)
        if len(named) != first or width == first:
            return named
        return named + (tuple(self.codec_block_layout) or (layout(self.encoder_vocab) if self.encoder_vocab else ()))

    @staticmethod
    def unfit(model: Path, reason: str) -> UnusableModel:
        return UnusableModel(model.name, f"{model.with_suffix('.json').name} beside it: {reason}")


def _read(model: Path) -> _Said:
    try:
        with model.with_suffix(".json").open("rb") as file:
            return msgspec.json.decode(file.read(_LIMIT), type=_Said)
    except FileNotFoundError:
        return _Said()
    except OSError as error:
        raise _Said.unfit(model, error.strerror or "unreadable") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _Said.unfit(model, str(error)) from None


def _unnamed(inputs: Sequence[tuple[str, int]]) -> tuple[str, ...]:
    """Name by width: a first input of six as libvmaf does, whatever else by its place in the flat vector."""
    width, first = sum(each for _, each in inputs), inputs[0][1]
    return (*SIX, *default_names(width)[len(SIX) :]) if first == len(SIX) else default_names(width)


def column_named(name: str, there: Iterable[str]) -> str | None:
    """Return which column of a table holds a feature: its name, with or without `integer_`; None where none does."""
    known = there if isinstance(there, Mapping | set) else set(there)
    return next((each for each in (name, INTEGER + name, name.removeprefix(INTEGER)) if each in known), None)


def _columns_for(name: str, there: set[str]) -> tuple[str, ...] | None:
    """Return the columns that a feature is made of; None where one is not there."""
    column = column_named(name, there)
    if column is not None:
        return (column,)
    source = column_for(name)
    if source == "preset":
        return tuple(each for each in ("codec", "preset") if each in there)
    return (source,) if source and source in there else None
