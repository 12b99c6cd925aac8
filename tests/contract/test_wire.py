"""The socket of the contract, promise by promise, against a real sidecar. Nothing here knows its code."""

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import Client, Json, line, sample
from tests.support.sidecar import PUBLISHING, SIX, Sidecar, running
from tests.support.waiting import PATIENCE_S, eventually

pytestmark = pytest.mark.processes

_numbers = count()


def fresh(n: int, **more: object) -> list[Json]:
    """Return ``n`` messages that nobody has sent before."""
    return [sample(f"job-{next(_numbers)}", score=float(next(_numbers) % 101), **more) for _ in range(n)]


@pytest.fixture
def client(sidecar: Sidecar) -> Iterator[Client]:
    """Connect."""
    with Client(sidecar.socket) as connected:
        yield connected


def assert_accepted(answer: Json, message: Json) -> None:
    """Check an accepted message's answer: its job, an integer step, and optional figures of the right kind."""
    assert answer["ok"] is True, answer
    assert answer["job_id"] == message["job_id"]
    assert type(answer["step"]) is int
    assert type(answer.get("trained", True)) is bool
    assert isinstance(answer.get("loss", 0.0), int | float)
    assert isinstance(answer.get("checkpoint", ""), str)


def test_lock_step(client: Client) -> None:
    """A client that waits for each answer gets one a message, in order, each within its two seconds."""
    for message in fresh(300):
        assert_accepted(client.ask(message), message)
    assert client.is_silent()


def test_pipelined(client: Client) -> None:
    """A client that writes many messages before it reads gets one answer each, in the order of the messages."""
    messages = fresh(1000)
    for answer, message in zip(client.ask_all(messages), messages, strict=True):
        assert_accepted(answer, message)
    assert client.is_silent()


def test_many_connections_at_once(sidecar: Sidecar) -> None:
    """Thirty long-lived connections take turns; each gets the answers to its own messages."""
    clients = [Client(sidecar.socket) for _ in range(30)]
    for _ in range(5):
        messages = fresh(30)
        for client, message in zip(clients, messages, strict=True):
            client.write(message)
        for client, message in zip(clients, messages, strict=True):
            assert_accepted(client.read(), message)
    for client in clients:
        client.__exit__()


def test_a_client_that_reads_late_loses_nothing(client: Client) -> None:
    """Far more is written than the buffers hold; when the client reads at last, every answer is there, in order."""
    messages = fresh(20_000)
    writer = threading.Thread(target=client.write, args=messages)
    writer.start()
    time.sleep(0.5)
    for message in messages:
        assert_accepted(client.read(), message)
    writer.join()


def test_a_client_that_has_written_its_last_gets_all_answers(sidecar: Sidecar) -> None:
    """After closing its writing side a client still reads one answer a message, then the end."""
    messages = fresh(5000)
    with Client(sidecar.socket) as client:

        def write_and_close() -> None:
            client.write(*messages)
            client.socket.shutdown(1)

        writer = threading.Thread(target=write_and_close)
        writer.start()
        time.sleep(0.5)
        for message in messages:
            assert_accepted(client.read(), message)
        writer.join()
        assert client.socket.recv(1) == b""


def test_what_is_accepted_is_in_the_ring(sidecar: Sidecar, client: Client) -> None:
    """As many samples are added as were answered ``ok: true``; what was refused is not among them."""
    before = sidecar.samples()
    client.ask_all([*fresh(40), b"not a message\n", *fresh(2)])
    assert sidecar.samples() == before + 42


MALFORMED: dict[str, tuple[Any, str]] = {
    "too few features": ({"features": [1.0] * 5}, "feature vector length 5 != expected 6"),
    "too many features": ({"features": [1.0] * 7}, "feature vector length 7 != expected 6"),
    "no features": ({"features": []}, "features"),
    "features missing": ({"features": ...}, "features"),
    "features null": ({"features": None}, "features"),
    "features a number": ({"features": 1.0}, "features"),
    "a feature that is text": ({"features": [1.0] * 5 + ["1"]}, "features"),
    "a feature that is null": ({"features": [1.0] * 5 + [None]}, "features"),
    "a feature that is true": ({"features": [1.0] * 5 + [True]}, "features"),
    "a feature beyond float32": ({"features": [1.0] * 5 + [1e39]}, "features"),
    "score missing": ({"true_score": ...}, "true_score"),
    "score null": ({"true_score": None}, "true_score"),
    "score text": ({"true_score": "92"}, "true_score"),
    "score over 100": ({"true_score": 100.001}, "true_score"),
    "score below 0": ({"true_score": -0.001}, "true_score"),
}


@pytest.mark.parametrize(("change", "named"), MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_message_is_refused_by_name(client: Client, change: Json, named: str) -> None:
    """The answer names the field, echoes the job, and the connection goes on."""
    (good,) = fresh(1)
    bad = {name: value for name, value in {**good, **change}.items() if value is not ...}
    answer = client.ask(bad)
    assert answer["ok"] is False
    assert named in answer["error"]
    assert answer["job_id"] == good["job_id"]
    assert_accepted(client.ask(good), good)


NOT_MESSAGES = {
    "text": b"hello\n",
    "a number": b"1\n",
    "an array": b"[]\n",
    "null": b"null\n",
    "cut off": b'{"job_id": "x", "features": [1, 2\n',
    "not UTF-8": b'{"job_id": "\xff\xfe", "features": [1,2,3,4,5,6], "true_score": 1}\n',
    "NaN": b'{"job_id": "x", "features": [NaN,2,3,4,5,6], "true_score": 1}\n',
    "Infinity": b'{"job_id": "x", "features": [1,2,3,4,5,6], "true_score": Infinity}\n',
    "two in a line": line(sample("a")).rstrip() + line(sample("b")),
    "trailing words": line(sample("a")).rstrip() + b" and more\n",
    "deep": b"[" * 10_000 + b"\n",
    "job missing": b'{"features": [1,2,3,4,5,6], "true_score": 1}\n',
    "job a number": b'{"job_id": 7, "features": [1,2,3,4,5,6], "true_score": 1}\n',
    "NUL": b"\0\n",
}


@pytest.mark.parametrize("bad", NOT_MESSAGES.values(), ids=NOT_MESSAGES.keys())
@pytest.mark.parametrize("company", ["alone", "amid good ones", "with an empty line"])
def test_what_is_no_message_gets_one_refusal(client: Client, bad: bytes, company: str) -> None:
    """One line, one ``ok: false`` with a reason, whatever comes before and after it in the same packet."""
    before, after = fresh(2), fresh(2)
    if company == "alone":
        answers = [client.ask(bad)]
    elif company == "amid good ones":
        answers = client.ask_all([*before, bad, *after])
    else:
        client.write(bad + b"\n")
        answers = [client.read()]
    verdicts = [answer["ok"] for answer in answers]
    assert verdicts == ([True, True, False, True, True] if company == "amid good ones" else [False])
    assert next(answer for answer in answers if not answer["ok"])["error"]
    assert client.is_silent()


def test_an_object_over_two_lines_is_two_malformed_messages(client: Client) -> None:
    """A newline ends a message wherever it stands: neither half is taken, even if the two would make one."""
    whole = line(sample("split")).rstrip()
    half = whole.index(b" ") + 1
    client.write(whole[:half] + b"\n" + whole[half:] + line(sample("beside")))
    assert [client.read()["ok"], client.read()["ok"]] == [False, False]
    assert client.is_silent()


def test_empty_lines_have_no_answer(client: Client) -> None:
    """Empty lines, alone or between messages, with or without a carriage return, are skipped."""
    first, second, third = fresh(3)
    client.write(b"\n\r\n\n" + line(first) + b"\n\n" + line(second) + b"\r\n" + line(third) + b"\n")
    for message in (first, second, third):
        assert_accepted(client.read(), message)
    assert client.is_silent()


def test_crlf_and_byte_order_mark(client: Client) -> None:
    """Lines that end in CRLF and a leading byte-order mark are tolerated."""
    first, second, third = fresh(3)
    client.write(b"\xef\xbb\xbf" + line(first), json.dumps(second).encode() + b"\r\n" + line(third))
    for message in (first, second, third):
        assert_accepted(client.read(), message)


def test_a_message_in_pieces(client: Client) -> None:
    """A message that arrives byte by byte is one message."""
    (message,) = fresh(1)
    for byte in line(message):
        client.socket.sendall(bytes([byte]))
    assert_accepted(client.read(), message)


@pytest.mark.parametrize(
    "job_id", ["", "ünïcödé ✓ 🎬", 'a "quoted" \\ job', "\u0000\u0001\n", "x" * 5000, "\u2028", "a/b", "\ud83c\udfac"]
)
def test_any_job_is_echoed(client: Client, job_id: str) -> None:
    """The answer carries the very same job, whatever characters it has."""
    answer = client.ask(sample(job_id, source_id=f"source of {len(job_id)}"))
    assert answer["ok"] is True
    assert answer["job_id"] == job_id.encode("utf-16", "surrogatepass").decode("utf-16")
    assert client.ask(sample(job_id, score=101.0))["job_id"] == answer["job_id"]


OPTIONAL: Json = {
    "predicted_score": 91.0,
    "codec": "libx264",
    "preset": "slow",
    "target_bitrate_kbps": 4500,
    "achieved_bitrate_kbps": 4431.7,
    "width": 1920,
    "height": 1080,
    "frame_rate": 23.976,
    "frame_count": 240,
    "color_space": "bt709",
    "content_category": "sport",
    "vmaf_model": "vmaf_v0.6.1",
    "backend": "cpu",
    "node_id": "node-7",
    "tenant_id": "tenant-1",
    "source_id": "source-3",
    "captured_at": "2026-05-28T12:34:56Z",
    "ground_truth_score": 4.2,
}


@pytest.mark.parametrize(("name", "value"), OPTIONAL.items())
def test_optional_fields_may_come(client: Client, name: str, value: object) -> None:
    """Each optional field of the contract is taken."""
    (message,) = fresh(1, **{name: value})
    assert_accepted(client.ask(message), message)


@pytest.mark.parametrize("value", [None, 1, "text", [1, [2]], {"deep": {"er": [{}]}}, True])
def test_unknown_fields_are_ignored(client: Client, value: object) -> None:
    """A newer node's fields, of any kind, do not matter."""
    (message,) = fresh(1, a_field_of_the_future=value, **OPTIONAL)
    assert_accepted(client.ask(message), message)


@pytest.mark.parametrize("score", [0, 100, 0.5, 1e-300])
def test_scores_from_0_to_100(client: Client, score: float) -> None:
    """The whole range is taken, bounds included, however the number is written."""
    (message,) = fresh(1)
    assert_accepted(client.ask({**message, "true_score": score, "features": [1, 2, 3, 4, 5, 6e0]}), message)


def test_a_resend_is_answered_and_not_stored_twice(sidecar: Sidecar) -> None:
    """The same job and content again, on this or a new connection: ``ok: true``, and one sample."""
    before = sidecar.samples()
    (message,) = fresh(1)
    with Client(sidecar.socket) as client:
        assert_accepted(client.ask(message), message)
        assert_accepted(client.ask(message), message)
    with Client(sidecar.socket) as client:
        for answer in client.ask_all([message] * 10):
            assert_accepted(answer, message)
    assert sidecar.samples() == before + 1


def test_the_same_job_with_other_content_is_another_sample(sidecar: Sidecar, client: Client) -> None:
    """Frames of one job differ in their features or their score: none is taken for a resend."""
    before = sidecar.samples()
    (message,) = fresh(1)
    others = [{**message, "true_score": 1.5}, {**message, "features": [2.0, *message["features"][1:]]}]
    for answer in client.ask_all([message, *others]):
        assert_accepted(answer, message)
    assert sidecar.samples() == before + 3


def test_empty_connections_come_and_go(sidecar: Sidecar, client: Client) -> None:
    """Hundreds of connections that say nothing, or stop in mid-message, bother nobody."""
    for index in range(300):
        with Client(sidecar.socket) as visitor:
            if index % 3 == 0:
                visitor.socket.sendall(b'{"job_id": "unfinis')
    (message,) = fresh(1)
    assert_accepted(client.ask(message), message)


def test_the_step_only_grows(client: Client) -> None:
    """Over a stream of messages the step never goes back, and in the end the sidecar has trained."""
    steps = [client.ask(message)["step"] for message in fresh(500)]
    assert steps == sorted(steps)
    assert eventually(lambda: client.ask(fresh(1)[0])["step"])


def next_checkpoint(client: Client) -> str:
    """Send until an answer announces a checkpoint; return its path.

    All samples are of one content, on which no gate can judge: a checkpoint found unstable may not be announced.
    """

    def announced() -> list[str]:
        answers = client.ask_all(fresh(20, source_id="film"))
        return [answer["checkpoint"] for answer in answers if "checkpoint" in answer]

    return eventually(announced)[0]


def test_a_checkpoint_is_announced_once_a_connection(tmp_path: Path) -> None:
    """Each connection is told of each new checkpoint once, and then its files are complete."""
    with (
        running(tmp_path, **PUBLISHING) as sidecar,
        Client(sidecar.socket) as first,
        Client(sidecar.socket) as second,
    ):
        seen: dict[Client, list[str]] = {first: [], second: []}
        while not all(len(set(paths)) >= 2 for paths in seen.values()):
            for client, paths in seen.items():
                path = next_checkpoint(client)
                assert path not in paths
                paths.append(path)
                assert Path(path).is_relative_to(sidecar.checkpoints)
                digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
                assert Path(f"{path}.sha256").read_text() == f"{digest}\n"


def test_eighty_features_by_default(tmp_path: Path) -> None:
    """Without any setting a feature vector has 80 numbers."""
    with running(tmp_path) as sidecar, Client(sidecar.socket) as client:
        message = {"job_id": "a", "features": [0.5] * 80, "true_score": 50.0}
        assert_accepted(client.ask(message), message)
        assert "length 6 != expected 80" in client.ask(sample("b"))["error"]


def test_a_stop_answers_what_was_sent(tmp_path: Path) -> None:
    """Messages that are on the wire at SIGTERM are answered or the connection closes: never half an answer."""
    with running(tmp_path, **SIX) as sidecar, Client(sidecar.socket) as client:
        client.ask(fresh(1)[0])
        messages = fresh(200)
        client.write(*messages)
        sidecar.process.terminate()
        rest = client.socket.makefile("rb").read()
        assert rest == b"" or rest.endswith(b"\n")
        assert [json.loads(answer)["job_id"] for answer in rest.splitlines()] == [
            message["job_id"] for message in messages
        ]
        assert sidecar.process.wait(PATIENCE_S) == 0
