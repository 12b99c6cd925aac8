"""The wire's words: what answers look like. What is accepted and refused is in tests/hostile and tests/contract."""

import json
import math

from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.protocol import Sample, accepted, accepted_prefix, accepted_sample, job_id_of, refused


@given(
    st.integers(0, 2**53),
    st.booleans(),
    st.none() | st.floats(allow_nan=False, allow_infinity=False),
    st.none() | st.text(),
    st.lists(st.text() | st.text('",\\'), min_size=1, max_size=4),
)
@example(1, True, None, None, ['x",', "y", '","', "\\", "line\nbreak"])
def test_an_accepted_answer(
    step: int, trained: bool, loss: float | None, checkpoint: str | None, jobs: list[str]
) -> None:
    """One line of strict JSON a job, with an integer step, and loss and checkpoint only where there are any."""
    lines = accepted(accepted_prefix(step, trained, loss, checkpoint), jobs).split(b"\n")
    assert lines.pop() == b""
    for line, job in zip(lines, jobs, strict=True):
        answer = json.loads(line)
        assert (answer.pop("ok"), answer.pop("job_id")) == (True, job)
        assert (answer.pop("step"), answer.pop("trained")) == (step, trained)
        present = {name: value for name, value in (("loss", loss), ("checkpoint", checkpoint)) if value is not None}
        assert answer == present


@given(st.text(), st.none() | st.text())
def test_a_refusal(text: str, job: str | None) -> None:
    """One line, with the job where it is known."""
    (line, end) = refused(text, job).split(b"\n")
    assert end == b""
    assert json.loads(line) == {"ok": False, "error": text} | ({} if job is None else {"job_id": job})


@given(st.text(max_size=1000), st.sampled_from(["", ", broken", "}}", ', "features": [NaN]}', "\x00"]))
def test_a_job_is_read_out_of_a_broken_line(job: str, rest: str) -> None:
    """The sender learns which of its messages was refused, wherever the line breaks after its name."""
    line = ('{"job_id": ' + json.dumps(job) + rest).encode()
    assert job_id_of(line) == job


@given(st.sampled_from([b"", b'{"job_id": ', b'{"job_id": "', b'{"job_id": "\\ud8']), st.binary(max_size=200))
@example(b'{"job_id": "', b'\xff"}')
@example(b'{"job_id": "', b'\\ud800", broken')
@example(b"[" * 200, b'"job_id": "deep"')
def test_whatever_the_bytes_the_job_read_from_them_can_be_answered(start: bytes, rest: bytes) -> None:
    """Reading a job never raises, and what was read, or that there is none, is what the sender gets back."""
    found = job_id_of(start + rest)
    answer = json.loads(refused("why", found))
    assert answer == {"ok": False, "error": "why"} | ({} if found is None else {"job_id": found})


def test_numbers_in_answers_are_finite() -> None:
    """A loss that is not finite cannot be parsed by clients: msgspec writes null, so callers leave it out."""
    assert json.loads(accepted(accepted_prefix(1, True, None), ["a"])[:-1]) == {
        "ok": True,
        "step": 1,
        "trained": True,
        "job_id": "a",
    }
    assert math.isfinite(json.loads(accepted(accepted_prefix(1, True, 1e308), ["a"]))["loss"])


def test_an_accepted_line_can_be_decoded_with_little_room_on_the_stack() -> None:
    """What ingest takes depends on its own stack: whoever reads the line again may be further down."""
    nested = f"{'[' * 600}{']' * 600}"
    line = f'{{"job_id": "a", "features": [1], "true_score": 2, "unknown": {nested}}}'.encode()

    def below(frames: int) -> Sample:
        return below(frames - 1) if frames else accepted_sample(line)

    assert below(300).job_id == "a"
