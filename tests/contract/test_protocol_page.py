"""docs/protocol.md says what the wire does."""

import json
import re
from pathlib import Path

import msgspec
import pytest

from pipeline.config import Settings, load
from pipeline.ingest.admission import Admission
from pipeline.ingest.dedup import Deduplicator
from pipeline.ingest.framing import Framer
from pipeline.protocol import EXPECTED, Sample, accepted, accepted_prefix
from pipeline.shm.ring import Ring

PAGE = Path(__file__).parents[2] / "docs" / "protocol.md"
BROKEN = {"not_utf8": b'{"job_id": "\xff"}', "too_long": b"1" * 262145}


def section(name: str) -> str:
    """Return what is between the marks of `name`."""
    found = re.search(rf"<!-- {name} -->\n(.*?)<!-- end of {name} -->", PAGE.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def rows(name: str) -> list[list[str]]:
    """Return the cells of a table, without its heading."""
    return [[cell.strip() for cell in line.split(" | ")] for line in section(name).splitlines()[2:]]


def admission(tenants: tuple[str, ...] = ()) -> tuple[Admission, Settings]:
    """Take samples of 6 features, with the default limits."""
    settings = load({"VMAFX_SIDECAR_N_FEATURES": "6"})
    return Admission(Ring.private(100, 6), Deduplicator(100, []), settings.max_line_bytes, tenants=tenants), settings


def answers(taker: Admission, settings: Settings, *lines: bytes, prefix: bytes = b"") -> list[dict[str, object]]:
    """Send lines, return what is answered."""
    blocks = Framer(settings.max_line_bytes).feed(b"".join(line + b"\n" for line in lines))
    return [
        json.loads(line)
        for line in taker.admit([blocks], prefix or accepted_prefix(0, trained=False, loss=None))[0].splitlines()
    ]


def test_every_field_of_a_message_is_listed() -> None:
    """Those that are read, with the type that the refusal names, and whether they are required."""
    fields = {field.name: field for field in msgspec.structs.fields(Sample)}
    listed = {row[0].strip("|` "): row[1] for row in rows("message")}
    assert list(listed) == list(fields)
    for name, kind in listed.items():
        assert kind == "any" or EXPECTED[name].removeprefix("a ").startswith(
            kind.split(",")[0].split(" or ")[0].removesuffix(" ")
        )
        assert ("required" in kind) == fields[name].required


def test_every_field_of_an_answer_is_listed() -> None:
    """Of accepted and refused ones."""
    taker, settings = admission()
    prefix = accepted_prefix(1, trained=True, loss=0.5, checkpoint="/c.onnx")
    sample = msgspec.json.encode(Sample("a", [1.0] * 6, 50.0))
    given = {name for answer in answers(taker, settings, sample, b"{}", prefix=prefix) for name in answer}
    assert {row[0].strip("|` ") for row in rows("answer")} == given


def test_every_reason_is_listed_with_what_it_says() -> None:
    """The example message of each row is refused for that reason, in those words."""
    for row in rows("refusals"):
        reason, message, error = (cell.strip("| ").strip("`") for cell in row)
        taker, settings = admission(("c",) if reason == "tenant" else ())
        (answer,) = answers(taker, settings, BROKEN.get(reason, message.encode()))
        assert (answer["ok"], answer["error"]) == (False, error)
        assert taker.rejected == {reason: 1}


def test_no_reason_is_missing() -> None:
    """Each that the source names has a row."""
    package = Path(__file__).parents[2] / "pipeline"
    source = "".join((package / name).read_text() for name in ("protocol.py", "ingest/admission.py"))
    named = set(re.findall(r'Refusal\(\s*"(\w+)"', source)) | {"wrong_type", "score_out_of_range"}
    assert {row[0].strip("|` ") for row in rows("refusals")} == named


def test_the_example_is_answered_as_shown() -> None:
    """But for what the trainer and the exporter report."""
    taker, settings = admission()
    lines = [line.strip() for line in section("example").splitlines() if line.strip().startswith("{")]
    messages, shown = lines[: len(lines) // 2], [json.loads(line) for line in lines[len(lines) // 2 :]]
    found = answers(taker, settings, *(line.encode() for line in messages))
    assert [answer["ok"] for answer in shown] == [answer["ok"] for answer in found] == [True, True, False]
    assert [answer["job_id"] for answer in shown] == [answer["job_id"] for answer in found]
    assert shown[2] == found[2]
    assert taker.resent == 1
    first = accepted(accepted_prefix(shown[0]["step"], True, shown[0]["loss"], shown[0]["checkpoint"]), ["3f1c"])
    assert first.decode().strip() in section("example")


@pytest.mark.parametrize("node", ["encoder-7", "", None, 7, 1.5, True, ["a"], {"a": 1}])
def test_no_value_of_node_id_is_refused(node: object) -> None:
    """Whatever a node has always sent there goes on being taken; only a string names a node."""
    taker, _ = admission()
    line = msgspec.json.encode({"job_id": "a", "features": [1.0] * 6, "true_score": 50.0, "node_id": node}) + b"\n"
    (answer,) = taker.admit([[line]], accepted_prefix(1, trained=True, loss=None))
    assert msgspec.json.decode(answer)["ok"] is True
