"""The bytes of a state file: schema, predictor version, settings, fit, recent outcomes.

Numbers are written with as many digits as bring back the same float64, so a state that is read and
written again is the same state.
"""

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


class _State(_Header, forbid_unknown_fields=True):
    settings: Settings
    features: tuple[str, ...]
    fit: Fit
    history: list[Outcome]


def encode(correction: Correction, predictor_version: str) -> bytes:
    """Return the state of a correction that has learned from at least one capture."""
    if correction.model is None:
        raise ValueError("a correction without a capture has no state")
    return msgspec.json.encode(
        _State(
            schema_version=SCHEMA_VERSION,
            predictor_version=predictor_version,
            settings=correction.settings,
            features=correction.features,
            fit=correction.model.fit(),
            history=list(correction.history),
        )
    )


def decode(data: bytes, predictor_version: str, settings: Settings) -> Correction:
    """Return the correction that these bytes hold.

    Raises:
        CorruptState: they are no state, or one that no captures lead to.
        OutdatedState: they are the state of another schema, predictor version or settings.

    """
    try:
        _check_header(msgspec.json.decode(data, type=_Header), predictor_version)
        state = msgspec.json.decode(data, type=_State)
        if state.settings != settings:
            raise OutdatedState(f"it was learned with {state.settings}, not {settings}")
        return _correction(state)
    except OutdatedState:
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
