"""From a line as a node sent it to the columns of the archive; nothing of it is lost.

Ingest looks at few of the fields, so the others may hold anything: what is not of its column's type, or is no column,
stays as JSON in `rest`.
"""

from __future__ import annotations

import struct
from datetime import datetime
from types import GenericAlias
from typing import Annotated, Any, NamedTuple, cast

import msgspec

from pipeline.protocol import accepted_sample

_Integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Moment = Annotated[datetime, msgspec.Meta(tz=True)]
_UNREADABLE = (ValueError, RecursionError, msgspec.MsgspecError)


class Row(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """The fields of the wire that have a column."""

    job_id: str
    features: tuple[float, ...]
    true_score: float
    predicted_score: float | None = None
    ground_truth_score: float | None = None
    source_id: str | None = None
    node_id: str | None = None
    tenant_id: str | None = None
    codec: str | None = None
    preset: str | None = None
    target_bitrate_kbps: float | None = None
    achieved_bitrate_kbps: float | None = None
    width: _Integer | None = None
    height: _Integer | None = None
    frame_rate: float | None = None
    frame_count: _Integer | None = None
    color_space: str | None = None
    content_category: str | None = None
    vmaf_model: str | None = None
    backend: str | None = None
    captured_at: _Moment | None = None


class Parsed(NamedTuple):
    """A line: its row, whose `features` are float32[n_features] beside it, and the other fields as a JSON object."""

    row: Row
    features: bytes
    rest: str | None


FIELDS = tuple(each.name for each in msgspec.structs.fields(Row) if each.name != "features")
"""The columns that are fields of the wire, but for `features`."""

_DECODERS = {each.name: msgspec.json.Decoder(each.type) for each in msgspec.structs.fields(Row)}
_take_apart = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Parser:
    """Makes rows of lines that ingest has accepted; `n_features` is what their features are, as many as in `line`."""

    def __init__(self, line: bytes) -> None:
        self.n_features = len(accepted_sample(line).features)
        features = GenericAlias(tuple, (float,) * self.n_features)  # of known length: decoded faster
        kind = msgspec.defstruct("Row", [("features", features)], bases=(Row,), gc=False, forbid_unknown_fields=True)
        self._decode = cast(Any, msgspec.json.Decoder(kind).decode)
        self._pack = struct.Struct(f"<{self.n_features}f").pack

    def parse(self, line: bytes) -> Parsed:
        """Return what a line says."""
        try:
            row, rest = self._decode(line), None
        except _UNREADABLE:
            row, rest = _piece_by_piece(line)
        features = self._pack(*row.features)
        row.features = ()
        return Parsed(row, features, rest)


def _piece_by_piece(line: bytes) -> tuple[Row, str]:
    known: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    try:
        for name, raw in _take_apart(line).items():
            try:
                known[name] = _DECODERS[name].decode(raw)
            except (KeyError, *_UNREADABLE):
                rest[name] = raw
        row = Row(**known)
    except (TypeError, *_UNREADABLE):  # a name that is not UTF-8
        sample = accepted_sample(line)
        row = Row(sample.job_id, tuple(sample.features), sample.true_score)
        rest = {"line": line.decode("utf-8", "replace")}
    return row, msgspec.json.encode(rest).decode("utf-8", "replace")
