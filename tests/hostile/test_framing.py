"""Arbitrary bytes: the same answers however they are cut, memory bounded, nothing raised."""

import json

from hypothesis import given
from hypothesis import strategies as st

from pipeline.ingest.admission import Admission
from pipeline.ingest.dedup import Deduplicator
from pipeline.ingest.framing import TOO_LONG, Framer, TooLong
from pipeline.shm.ring import Ring

LIMIT = 40
GOOD = b'{"job_id":"a","features":[1],"true_score":1}'
pieces = st.one_of(
    st.binary(max_size=30),
    st.sampled_from([b"\n", b"\r\n", b"{", b"}", b"[", b'"', b"\\", b'"job_id":', GOOD, GOOD + b"\n", b"\xef\xbb\xbf"]),
)
streams = st.lists(pieces, max_size=30).map(b"".join)
cuts = st.lists(st.integers(1, 50), min_size=1, max_size=20)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """Cut `data` into pieces of these sizes, over and over."""
    found, start, turn = [], 0, 0
    while start < len(data):
        found.append(data[start : start + sizes[turn % len(sizes)]])
        start += sizes[turn % len(sizes)]
        turn += 1
    return found


def lines(blocks: list[bytes | TooLong]) -> list[bytes | None]:
    """Return the single lines of blocks; None for one that was too long."""
    return [line for block in blocks for line in ([None] if isinstance(block, TooLong) else block.split(b"\n"))]


@given(streams, cuts)
def test_lines_are_the_same_however_the_stream_is_cut(data: bytes, sizes: list[int]) -> None:
    """Every finished line comes out once, in order; one over the limit as a mark; nothing of an unfinished one."""
    framer = Framer(LIMIT)
    found = lines([block for piece in cut(data, sizes) for block in framer.feed(piece)])
    expected = [line if len(line) <= LIMIT else None for line in data.split(b"\n")[:-1]]
    assert found == expected


@given(streams, cuts)
def test_no_more_than_the_longest_line_is_kept(data: bytes, sizes: list[int]) -> None:
    """What waits for its end is bounded by the limit, at any moment."""
    framer = Framer(LIMIT)
    for piece in cut(data, sizes):
        framer.feed(piece)
        assert len(framer._tail) <= LIMIT


def test_a_gigabyte_without_a_newline_takes_no_memory() -> None:
    """It is discarded as it comes, answered once at its end, and the next line is served."""
    framer = Framer(LIMIT)
    chunk = b"x" * (1 << 20)
    for _ in range(1024):
        assert framer.feed(chunk) == []
    assert framer.feed(b"\nnext\n") == [TOO_LONG, b"next"]


def admit(data: bytes, sizes: list[int]) -> tuple[list[bytes], Ring]:
    """Run a stream through framing and admission; return the answers and the ring."""
    framer, ring = Framer(4096), Ring.private(64, 1)
    admission = Admission(ring, Deduplicator(64, []), 4096)
    prefix = b'{"ok":true,"job_id":'
    replies = [admission.admit([framer.feed(piece)], prefix)[0] for piece in cut(data, sizes)]
    return b"".join(replies).splitlines(keepends=True), ring


@given(streams, cuts)
def test_one_answer_for_every_line_that_is_not_empty(data: bytes, sizes: list[int]) -> None:
    """Never one too many or too few, and the same whether lines came one by one or together."""
    answers, ring = admit(data, sizes)
    together, _ = admit(data, [max(1, len(data))])
    expected = [line.removeprefix(b"\xef\xbb\xbf").strip(b" \t\r") for line in data.split(b"\n")[:-1]]
    assert len(answers) == len([line for line in expected if line])
    assert answers == together
    assert all(answer.endswith(b"}\n") and answer.count(b"\n") == 1 for answer in answers)
    assert ring.head <= sum(line == GOOD for line in expected)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(["job_id", "features", "true_score", "source_id", "codec", "x"]), json_values, max_size=6
    )
)
def test_any_json_object_is_accepted_or_refused_by_name(message: dict[str, object]) -> None:
    """Whatever the fields hold: one answer, strict JSON, the job echoed where it is a string."""
    (answer,), ring = admit(json.dumps(message).encode() + b"\n", [1 << 20])
    if answer.startswith(b'{"ok":false'):
        refused = json.loads(answer)
        assert refused["error"].split(":")[0] in {"job_id", "features", "true_score", "source_id", "message"}
        assert "expected" in refused["error"]
        if isinstance(message.get("job_id"), str) and len(str(message["job_id"])) < 1000:
            assert refused["job_id"] == message["job_id"]
    else:
        assert isinstance(message["job_id"], str)
        assert ring.head == 1


numbers = st.sampled_from([0, -0.0, 1e-46, 3.4028235e38, 3.4028235677973366e38, -3.5e38, 1e400, 10**30]) | st.floats()
almost_samples = st.fixed_dictionaries(
    {
        "job_id": st.text(max_size=3) | st.integers(),
        "features": st.lists(numbers | st.booleans(), max_size=2) | numbers.map(lambda number: [number]),
        "true_score": st.floats(-1, 101) | st.integers(0, 100),
    },
    optional={"source_id": st.none() | st.text(max_size=3), "codec": st.text(max_size=3)},
)


@given(st.lists(almost_samples, max_size=6), st.sampled_from([b"", b" ", b"\r", b"\t\r"]))
def test_a_bad_line_changes_nothing_for_those_around_it(messages: list[dict[str, object]], end: bytes) -> None:
    """Lines that come together have the answers and the rows that they have with a bad one among them."""
    lines = b"".join(json.dumps(message).encode() + end + b"\n" for message in messages)
    alone, ring = admit(lines, [1 << 20])
    among, ring_among = admit(lines + b"no message\n", [1 << 20])
    assert among[:-1] == alone
    (rows, head), (rows_among, _) = ring.snapshot(), ring_among.snapshot()
    assert head == ring_among.head
    assert rows.content.tobytes() == rows_among.content.tobytes()
    assert rows.group.tolist() == rows_among.group.tolist()
    assert rows.key.tolist() == rows_among.key.tolist()
