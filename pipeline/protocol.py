"""The wire: one JSON object per line, in both directions. docs/protocol.md has every field.

-> {"job_id": "3f1c", "features": [0.91, 0.87], "true_score": 92.4}
<- {"ok": true, "step": 1234, "trained": true, "loss": 0.8, "checkpoint": "/models/model_v000042.onnx", "job_id": "3f1c"}
<- {"ok": false, "error": "features: feature vector length 5 != expected 6", "job_id": "3f1c"}
"""  # noqa: E501  an example line is one line

from __future__ import annotations

import re
from collections.abc import Sequence
from types import GenericAlias
from typing import Annotated, Any, Literal, cast

import msgspec

Score = Annotated[float, msgspec.Meta(ge=0.0, le=100.0)]


class Sample(msgspec.Struct, gc=False):
    """A scored frame or encode. Further fields are ignored, so that newer nodes keep working."""

    job_id: str
    features: Sequence[float]
    true_score: Score
    source_id: str | None = None
    # These count where they are a string, or an integer; whatever else a node sends there never did any harm.
    node_id: Any = None
    tenant_id: Any = None
    codec: Any = None
    height: Any = None


class OpinionSample(Sample, gc=False):
    """A sample whose subjective score is read too."""

    ground_truth_score: float | None = None


def sample_of(n_features: int | None, kind: type[Sample] = Sample, tenants: tuple[str, ...] = ()) -> type[Sample]:
    """Return a kind of Sample that has `n_features`, and is of one of `tenants` where there are any.

    The features are a tuple then: msgspec decodes a tuple of known length faster.
    """
    fields: list[tuple[str, Any]] = []
    if n_features is not None:
        fields.append(("features", GenericAlias(tuple, (float,) * n_features)))
    if tenants:
        fields.append(("tenant_id", Literal[tenants]))
    return cast(type[Sample], msgspec.defstruct("Sample", fields, bases=(kind,), gc=False, kw_only=True))


class _JobOnly(msgspec.Struct):
    job_id: str


EXPECTED = {
    "job_id": "a string",
    "features": "a list of numbers",
    "true_score": "a number from 0 to 100",
    "source_id": "a string",
    "tenant_id": "a tenant whose samples are taken here",
    "ground_truth_score": "a number",
}
_decode_job = msgspec.json.Decoder(_JobOnly).decode
_decode_sample = msgspec.json.Decoder(Sample).decode
_encode, _encode_lines = msgspec.json.Encoder().encode, msgspec.json.Encoder().encode_lines
_JOB_ID = re.compile(rb'"job_id"\s*:\s*("(?:[^"\\]|\\.){0,4096}")')
_PATH = re.compile(r"`\$\.?(\w*)")
_MISSING = re.compile(r"missing required field `(\w+)`")


class Refusal(Exception):
    """A message is refused. `reason` is the name it is counted under; the text is for the sender."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


def refusal(error: Exception) -> Refusal:
    """Say in the sender's terms why msgspec could not decode a line."""
    text = str(error)
    if isinstance(error, RecursionError):
        return Refusal("not_json", "message: nested too deeply, expected one flat JSON object per line")
    if isinstance(error, UnicodeDecodeError):
        return Refusal("not_utf8", "message: not UTF-8, expected one JSON object per line in UTF-8")
    if missing := _MISSING.search(text):
        field = missing.group(1)
        text = f"{field}: missing, expected {EXPECTED[field]}"
        return Refusal("tenant", text) if field == "tenant_id" else Refusal("missing_field", text)
    if isinstance(error, msgspec.ValidationError):
        path = _PATH.search(text)
        field = path.group(1) if path and path.group(1) in EXPECTED else "message"
        if field == "tenant_id":
            return Refusal("tenant", f"tenant_id: expected {EXPECTED[field]}")
        return Refusal(
            _reason(field, text), f"{field}: expected {EXPECTED.get(field, 'one JSON object per line')} ({text})"
        )
    return Refusal("not_json", f"message: expected one JSON object per line; NaN and Infinity are not JSON ({text})")


def _reason(field: str, text: str) -> str:
    if field == "features" and "out of range" in text:
        return "not_float32"
    return (
        "score_out_of_range"
        if field == "true_score" and ("out of range" in text or "`float` " in text)
        else "wrong_type"
    )


def accepted_sample(line: bytes) -> Sample:
    """Decode a line that was accepted.

    Ingest takes values that are nested as deeply as its own stack leaves room for. Who has less room left decodes them
    in a thread, whose stack is empty.
    """
    try:
        return _decode_sample(line)
    except RecursionError:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(_decode_sample, line).result()


def job_id_of(line: bytes) -> str | None:
    """Return the job_id of a refused line, if it can be read at all."""
    try:
        return _decode_job(line).job_id
    except (ValueError, RecursionError, msgspec.MsgspecError):
        pass
    match = _JOB_ID.search(line)
    try:
        return msgspec.json.decode(match.group(1), type=str) if match else None
    except (ValueError, msgspec.MsgspecError):
        return None


def refused(text: str, job_id: str | None) -> bytes:
    """Return the answer to a refused message."""
    answer = {"ok": False, "error": text}
    return _encode(answer | {"job_id": job_id} if job_id is not None else answer) + b"\n"


def accepted_prefix(step: int, trained: bool, loss: float | None, checkpoint: str | None = None) -> bytes:
    """Return the answer to an accepted message up to its job_id, which `accepted` completes."""
    answer: dict[str, object] = {"ok": True, "step": step, "trained": trained}
    if loss is not None:
        answer["loss"] = loss
    if checkpoint is not None:
        answer["checkpoint"] = checkpoint
    return _encode(answer)[:-1] + b',"job_id":'


def accepted(prefix: bytes, job_ids: list[str]) -> bytes:
    """Return the answers to accepted messages, in one piece.

    The job_ids are encoded in one call, a line each; JSON has no newline inside a string.
    """
    if not job_ids:
        return b""
    return prefix + _encode_lines(job_ids)[:-1].replace(b"\n", b"}\n" + prefix) + b"}\n"
