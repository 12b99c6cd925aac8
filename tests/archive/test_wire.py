"""Whatever ingest accepts gets into the archive, each field in its column or, as it came, in `rest`."""

import json
import struct
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.archive.wire import FIELDS, Parsed, Parser
from pipeline.protocol import Sample

PLAIN = b'{"job_id":"a","features":[1,2.5],"true_score":3}'


def parsed(line: bytes) -> Parsed:
    """Return what is made of a line."""
    return Parser(PLAIN).parse(line)


def with_fields(text: str) -> bytes:
    """Return a line with more fields."""
    return PLAIN[:-1] + b"," + text.encode() + b"}"


def test_every_field_has_its_column() -> None:
    """All of the contract's, with their types."""
    values: dict[str, Any] = {
        "predicted_score": 91.5, "codec": "h264", "preset": "slow", "target_bitrate_kbps": 3000,
        "achieved_bitrate_kbps": 2987.5, "width": 1920, "height": 1080, "frame_rate": 23.976, "frame_count": 240,
        "color_space": "bt709", "content_category": "sport", "vmaf_model": "vmaf_v0.6.1", "backend": "cpu",
        "node_id": "n1", "tenant_id": "t", "source_id": "clip", "captured_at": "2026-01-02T03:04:05.5+01:00",
        "ground_truth_score": 88.0,
    }  # fmt: skip
    row, features, rest = parsed(json.dumps({**json.loads(PLAIN), **values}).encode())
    expected = values | {"captured_at": datetime(2026, 1, 2, 2, 4, 5, 500000, UTC), "job_id": "a", "true_score": 3.0}
    assert {name: getattr(row, name) for name in FIELDS} == expected
    assert features == struct.pack("<2f", 1, 2.5)
    assert rest is None


@pytest.mark.parametrize(
    ("field", "rest"),
    [
        ('"unknown":{"a": [1, 2.50]}', '{"unknown":{"a": [1, 2.50]}}'),
        ('"codec":5', '{"codec":5}'),
        ('"width":"wide"', '{"width":"wide"}'),
        ('"width":99999999999999999999', '{"width":99999999999999999999}'),
        ('"frame_rate":1e999', '{"frame_rate":1e999}'),
        ('"captured_at":"yesterday"', '{"captured_at":"yesterday"}'),
        ('"captured_at":"2026-01-02T03:04:05"', '{"captured_at":"2026-01-02T03:04:05"}'),
        ('"node_id":["n"]', '{"node_id":["n"]}'),
        ('"":"empty"', '{"":"empty"}'),
        ('"rest":"r"', '{"rest":"r"}'),
    ],
)
def test_what_has_no_column_stays_as_it_came(field: str, rest: str) -> None:
    """Unknown names, other types, numbers out of range; what else the line has is in its columns."""
    found = parsed(with_fields(f'{field},"backend":"cuda"'))
    assert found.rest == rest
    assert (found.row.backend, found.row.job_id) == ("cuda", "a")


@pytest.mark.parametrize("name", [b'"backend":"\xff"', b'"x":"\xff"', b'"\xff":1'])
def test_bytes_that_are_not_utf8(name: bytes) -> None:
    """Ingest looks into few fields; the others are kept as far as they are text."""
    line = PLAIN[:-1] + b"," + name + b"}"
    assert msgspec.json.decode(line, type=Sample).job_id == "a"
    found = parsed(line)
    assert "\ufffd" in (found.rest or "")
    assert found.features == struct.pack("<2f", 1, 2.5)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(fields=st.dictionaries(st.sampled_from([*FIELDS, "other"]) | st.text(), JSON, max_size=6))
def test_nothing_is_lost(fields: dict[str, Any]) -> None:
    """Of any fields, each is in its column or in `rest`, with its value."""
    message = {**fields, "job_id": "a", "features": [1, 2.5], "true_score": 3}
    try:
        line = json.dumps(message).encode()
        msgspec.json.decode(line, type=Sample)
    except (ValueError, msgspec.MsgspecError):
        return
    found = parsed(line)
    rest = json.loads(found.rest or "{}")
    for name, value in fields.items():
        if name in {"job_id", "features", "true_score"}:
            continue
        kept = rest[name] if name in rest else getattr(found.row, name)
        if isinstance(kept, datetime):
            assert kept == datetime.fromisoformat(value)
        else:
            assert kept == value
