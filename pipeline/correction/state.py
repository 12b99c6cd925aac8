"""The bytes of a state file: schema, predictor version, checksum; settings, fit, recent outcomes.

Numbers are written with as many digits as bring back the same float64, so a state that is read and
written again is the same state.
"""

import zlib

import msgspec

from pipeline.correction.captures import Outcome
from pipeline.correction.correction import HISTORY, Correction
from pipeline.correction.model import CorrectionModel, Fit, Settings

SCHEMA_VERSION = 2
"""1 is the format that vmaf-tune itself writes under the same path; it is not read."""


class CorruptState(ValueError):
    """The bytes are not a state."""


class OutdatedState(ValueError):
    """A state of another schema, predictor version or settings; the message says which."""


class _Header(msgspec.Struct):
    schema_version: int
    predictor_version: str


class _File(_Header, forbid_unknown_fields=True):
    crc32: int
    state: msgspec.Raw


class _State(msgspec.Struct, forbid_unknown_fields=True):
    settings: Settings
    features: tuple[str, ...]
    fit: Fit
    history: list[Outcome]


def encode(correction: Correction, predictor_version: str) -> bytes:
    """Return the state of a correction that has learned from at least one capture."""
    if correction.model is None:
        raise ValueError("a correction without a capture has no state")
    state = msgspec.json.encode(
        _State(correction.settings, correction.features, correction.model.fit(), list(correction.history))
    )
    return msgspec.json.encode(_File(SCHEMA_VERSION, predictor_version, zlib.crc32(state), msgspec.Raw(state)))


def decode(data: bytes, predictor_version: str, settings: Settings) -> Correction:
    """Return the correction that these bytes hold.

    Raises:
        CorruptState: they are no state, or one that no captures lead to.
        OutdatedState: they are the state of another schema, predictor version or settings.

    """
    try:
        _check_header(msgspec.json.decode(data, type=_Header), predictor_version)
        file = msgspec.json.decode(data, type=_File)
        if zlib.crc32(file.state) != file.crc32:
            raise CorruptState("its checksum is not that of its content")
        state = msgspec.json.decode(file.state, type=_State)
        if state.settings != settings:
            raise OutdatedState(f"it was learned with {state.settings}, not {settings}")
        return _correction(state)
    except (CorruptState, OutdatedState):
        raise
    except (msgspec.MsgspecError, ValueError) as error:
        raise CorruptState(str(error)) from error


def _check_header(header: _Header, predictor_version: str) -> None:
    if header.schema_version != SCHEMA_VERSION:
        raise OutdatedState(f"it has schema version {header.schema_version}, not {SCHEMA_VERSION}")
    if header.predictor_version != predictor_version:
        raise OutdatedState(f"it was learned for predictor version {header.predictor_version!r}")


def _correction(state: _State) -> Correction:
    if len(state.fit.origin) != len(state.features) + 2:
        raise ValueError("features and columns do not agree in number")
    if not 1 <= len(state.history) <= min(state.fit.captures, HISTORY):
        raise ValueError("more or fewer outcomes than captures")
    model = CorrectionModel.from_fit(state.fit, state.settings)
    return Correction(state.settings, state.features, model, state.history)
