"""ingest under clients of every kind, over a real socket, with neither trainer nor exporter there."""

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from pipeline.shm.rows import RowBatch
from tests.support.client import Client, Json, line, sample
from tests.support.ingest import Ingest, running
from tests.support.sidecar import N_FEATURES
from tests.support.waiting import eventually

MIB = 1 << 20


@pytest.fixture(scope="module")
def ingest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ingest]:
    """Run one ingest for the tests that leave it as it was."""
    with running(tmp_path_factory.mktemp("ingest"), VMAFX_SIDECAR_MAX_CONNECTIONS="200") as started:
        yield started


@contextmanager
def unharmed(ingest: Ingest, most_memory: int = 64 * MIB) -> Iterator[None]:
    """Check that afterwards the process is the same, serves, and has its memory and descriptors back."""
    memory = ingest.rss()
    yield
    eventually(lambda: ingest.descriptors() == ingest.idle_descriptors, explain=lambda: str(ingest.report()))
    assert ingest.process.poll() is None
    assert ingest.rss() - memory < most_memory
    with ingest.client() as client:
        assert client.ask(sample("still here"))["ok"]


@contextmanager
def flood(ingest: Ingest, data: bytes, *, reads: bool) -> Iterator[Callable[[], int]]:
    """Send `data` over and over on a connection, as fast as it is taken; give the number of bytes sent so far."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(ingest.socket))
    sent, stop = 0, threading.Event()

    def send() -> None:
        nonlocal sent
        try:
            while not stop.is_set():
                connection.sendall(data)
                sent += len(data)
        except OSError:
            return

    def read() -> None:
        with suppress(OSError):
            while connection.recv(MIB):
                pass

    threads = [threading.Thread(target=send), *([threading.Thread(target=read)] if reads else [])]
    for thread in threads:
        thread.start()
    try:
        yield lambda: sent
    finally:
        stop.set()
        connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()
        connection.close()


def messages(prefix: str, count: int) -> bytes:
    """Return `count` messages of as many jobs."""
    return b"".join(line(sample(f"{prefix}-{i}", score=i % 101)) for i in range(count))


FLOODS = {
    "good messages": messages("flood", 500),
    "shortest refused lines": b"x\n" * 32768,
    "empty lines": b"\n" * 65536,
    "one endless line": b"y" * 65536,
    "too long lines": b"z" * 300_000 + b"\n",
    "deeply nested lines": b"[" * 60_000 + b"\n",
    "wrong counts": line({"job_id": "w", "features": [1.0], "true_score": 1}) * 500,
}


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_does_not_keep_others_waiting(ingest: Ingest, kind: str) -> None:
    """Three clients send without pause; another's lock-step messages are answered all the while, every one."""
    with unharmed(ingest), ExitStack() as floods, ingest.client() as client:
        sent = [floods.enter_context(flood(ingest, FLOODS[kind], reads=True)) for _ in range(3)]
        eventually(lambda: all(each() for each in sent))
        for i in range(30):
            assert client.ask(sample(f"{kind} {i}"))["ok"]


@pytest.mark.parametrize("kind", ["good messages", "shortest refused lines"])
def test_who_does_not_read_its_answers_has_to_wait(ingest: Ingest, kind: str) -> None:
    """It is not read from any more, so that nothing piles up; others are served; when it reads, it is served again."""
    with unharmed(ingest), flood(ingest, FLOODS[kind], reads=False) as sent, ingest.client() as client:
        eventually(lambda: ingest.report().connections_waiting == 1)
        bytes_then = sent()
        for i in range(20):
            assert client.ask(sample(f"beside a deaf one {kind} {i}"))["ok"]
        assert sent() - bytes_then < 4 * MIB
        assert ingest.report().connections_waiting == 1


def test_who_reads_late_gets_every_answer_in_order(ingest: Ingest) -> None:
    """Many more messages than fit any buffer, all answers read afterwards: none missing, none twice."""
    jobs = 30_000
    with unharmed(ingest), ingest.client() as client:
        writer = threading.Thread(target=client.socket.sendall, args=(messages("late", jobs),))
        writer.start()
        eventually(lambda: ingest.report().connections_waiting == 1)
        answers = [client.read() for _ in range(jobs)]
        writer.join()
    assert [answer["job_id"] for answer in answers] == [f"late-{i}" for i in range(jobs)]
    assert all(answer["ok"] for answer in answers)


def test_a_hundred_megabytes_without_a_newline(ingest: Ingest) -> None:
    """They are discarded as they come: memory stays, and the connection goes on after the line's end."""
    with unharmed(ingest), ingest.client() as client:
        for _ in range(100):
            client.socket.sendall(b"x" * MIB)
        assert ingest.rss() < 200 * MIB
        refused = client.ask(b"\n")
        assert refused == {"ok": False, "error": "message: longer than 262144 bytes"}
        assert client.ask(sample("after the long one"))["ok"]


def test_a_byte_at_a_time(ingest: Ingest) -> None:
    """A client that dribbles is served like any other, and delays nobody."""
    with unharmed(ingest), ingest.client() as slow, ingest.client() as other:
        for position, byte in enumerate(line(sample("dribble"))):
            slow.socket.send(bytes([byte]))
            if position % 20 == 0:
                assert other.ask(sample(f"beside the slow one {position}"))["ok"]
        assert slow.read()["job_id"] == "dribble"


def test_ten_thousand_connections_opened_and_dropped(ingest: Ingest) -> None:
    """Empty, in the middle of a line, with an answer unread: none of them leaves anything behind."""
    parting = [b"", b'{"job_id": "half', line(sample("unread"))]
    with unharmed(ingest), ingest.client() as client:
        for i in range(10_000):
            with socket.socket(socket.AF_UNIX) as one:
                one.connect(str(ingest.socket))
                one.sendall(parting[i % 3])
            if i % 500 == 0:
                assert client.ask(sample(f"among thousands {i}"))["ok"]


def test_more_connections_than_allowed_are_closed_at_once(ingest: Ingest) -> None:
    """The two hundred that are in stay in and are served; who comes later is told by an end of file, then may retry."""
    refused_before = ingest.report().connections_refused
    with unharmed(ingest), ExitStack() as stack:
        inside = [stack.enter_context(ingest.client()) for _ in range(200)]
        eventually(lambda: ingest.report().connections == 200)
        with ingest.client() as late:
            assert late.socket.recv(1) == b""
        eventually(lambda: ingest.report().connections_refused > refused_before)
        for i, client in enumerate(inside):
            assert client.ask(sample(f"inside {i}"))["ok"]


def test_out_of_descriptors(tmp_path: Path) -> None:
    """New clients wait in the backlog, old ones are served; when others leave, the waiting ones get in."""
    with running(tmp_path) as ingest:
        ingest.kill_all()
        ingest.descriptors_allowed = 40
        ingest.start()
        with ExitStack() as stack:
            clients = [stack.enter_context(ingest.client()) for _ in range(60)]
            eventually(lambda: ingest.descriptors() >= 40)
            assert clients[0].ask(sample("first"))["ok"]
            for client in clients[:45]:
                client.__exit__()
            assert clients[-1].ask(sample("last"))["ok"]
            assert ingest.process.poll() is None


def test_a_silent_connection_is_closed_after_the_time_that_was_set(tmp_path: Path) -> None:
    """And one that is not silent stays."""
    with (
        running(tmp_path, VMAFX_SIDECAR_IDLE_TIMEOUT_S="1") as ingest,
        ingest.client() as silent,
        ingest.client() as busy,
    ):
        silent.socket.setblocking(False)

        def closed() -> bool:
            assert busy.ask(sample("busy"))["ok"]
            try:
                return silent.socket.recv(1) == b""
            except BlockingIOError:
                return False

        eventually(closed)
        assert busy.ask(sample("still in"))["ok"]


def test_resends_are_recognised_over_a_kill(tmp_path: Path) -> None:
    """Killed after it stored and before the client read: the same messages again are ok, and stored once."""
    with running(tmp_path) as ingest:
        client = ingest.client()
        client.write(*(sample(f"job {i}") for i in range(500)))
        eventually(lambda: ingest.ring().head == 500)
        ingest.kill_all()
        client.__exit__()
        ingest.start()
        with ingest.client() as again:
            answers = again.ask_all([sample(f"job {i}") for i in range(500)] + [sample("new")])
        assert [answer["ok"] for answer in answers] == [True] * 501
        eventually(lambda: ingest.report().resent == 500)
        assert ingest.ring().head == 501


def test_a_kill_under_load_loses_no_answered_sample(tmp_path: Path) -> None:
    """Ten times in mid-stream: each sample that was answered ok is in the ring, once, in the order of its answers."""
    answered: list[str] = []
    with running(tmp_path, VMAFX_SIDECAR_REPLAY_CAPACITY="200000") as ingest:
        for life in range(10):
            answered += _stream_until_killed(ingest, life)
            ingest.forgive()
            ingest.start()
        rows, _ = ingest.ring().snapshot()
        stored = {float(value): i for i, value in enumerate(rows.features[:, 0].tolist())}
        assert len(stored) == len(rows), "a sample is there twice"
        places = [stored[float(np.float32(job))] for job in map(float, answered)]
        assert places == sorted(places)
        assert len(answered) > 1000
        eventually(lambda: ingest.report().accepted == len(rows))


def _stream_until_killed(ingest: Ingest, life: int) -> list[str]:
    """Send numbered samples in batches, kill ingest in the middle; return the numbers that were answered."""
    answered: list[str] = []
    with ingest.client() as client:
        killer = threading.Timer(0.05 + 0.02 * life, ingest.process.kill)
        killer.start()
        try:
            for batch in range(10_000):
                numbers = [life * 1_000_000 + batch * 20 + i for i in range(20)]
                client.write(*(_numbered(number) for number in numbers))
                answered += [client.read()["job_id"] for _ in numbers]
        except (OSError, AssertionError):
            pass
        killer.join()
    ingest.process.wait()
    return answered


def _numbered(number: int) -> dict[str, object]:
    return {"job_id": str(number), "features": [float(number)] * N_FEATURES, "true_score": 50}


def test_what_is_answered_is_in_the_ring_as_it_was_sent(ingest: Ingest) -> None:
    """Features, score, group of the source or else the job, arrival: visible to others when the answer is read."""
    with ingest.client() as client:
        for source in (None, "film"):
            before = time.time()
            features = [1.5, -2, 3e30, 4, 5, 0.1]
            message = {"job_id": "j1", "features": features, "true_score": 12.5, "source_id": source}
            assert client.ask(message)["ok"]
            client.ask(message | {"true_score": 13.5})
            ring, batch = ingest.ring(), RowBatch(2, N_FEATURES)
            assert ring.read(ring.head - 2, batch) == 2
            assert np.array_equal(batch.features[0], np.array(features, np.float32))
            assert batch.score.tolist() == [12.5, 13.5]
            assert before - 1 < batch.arrival[0] < time.time() + 1
            assert batch.group[0] == batch.group[1]


def test_every_refusal_is_counted_by_its_reason(ingest: Ingest) -> None:
    """What an operator sees in `status` is what happened."""
    good = sample("x")
    bad: dict[str, Json | bytes] = {
        "wrong_type": good | {"job_id": 5},
        "missing_field": {"job_id": "a"},
        "score_out_of_range": good | {"true_score": 101},
        "feature_count": good | {"features": [1.0]},
        "not_float32": good | {"features": [1e39] * N_FEATURES},
        "not_json": b"nonsense\n",
        "not_utf8": b'{"job_id": "\xff"}\n',
        "too_long": b"x" * 300_000 + b"\n",
    }
    before = dict(ingest.report().rejected)
    with ingest.client() as client:
        for message in bad.values():
            assert not client.ask(message)["ok"]
    eventually(
        lambda: (
            {r: n - before.get(r, 0) for r, n in ingest.report().rejected.items() if n != before.get(r, 0)}
            == dict.fromkeys(bad, 1)
        ),
        explain=lambda: json.dumps([before, ingest.report().rejected]),
    )


def test_a_stop_serves_what_was_sent_and_takes_the_socket_away(tmp_path: Path) -> None:
    """SIGTERM under load: exit code 0, every sample in the ring was answered or is answered, no socket stays."""
    with running(tmp_path) as ingest, ingest.client() as client:
        client.write(messages("last", 2000))
        assert client.read()["ok"]
        assert ingest.stop() == 0
        answers = 1 + len(client._lines.readlines())
        assert answers == ingest.ring().head
        assert not ingest.socket.exists()


def test_a_second_ingest_is_refused_and_the_first_untouched(tmp_path: Path) -> None:
    """On the same socket under another instance name: the second ends with the documented code and one line."""
    with running(tmp_path) as ingest, ingest.client() as client:
        with Ingest(tmp_path, VMAFX_SIDECAR_INSTANCE=f"second-{os.getpid()}") as second:
            assert second.launch().wait(20) == 73
        assert "another process is listening there" in second.log()
        assert "Traceback" not in second.log()
        assert client.ask(sample("untouched"))["ok"]
        with Client(ingest.socket) as newcomer:
            assert newcomer.ask(sample("the socket is still its own"))["ok"]
