"""`FeedbackClient` against sidecars that behave, stall, vanish and lie."""

import math
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import structlog

from pipeline.node.feedback import FeedbackClient, Patience
from tests.node.scripted_sidecar import Message, ScriptedSidecar, ok, refusal
from tests.support.waiting import eventually

FEATURES = [0.9, 0.5, 0.6, 0.7, 0.8, 3.0]
HASTY = Patience(dial=1.0, deadline=1.0, first_pause=0.01, longest_pause=0.05)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the socket is."""
    return tmp_path / "s.sock"


def client_of(path: Path, **options: object) -> FeedbackClient:
    """Return a client that does not wait as long as a real one."""
    return FeedbackClient(path, patience=HASTY, **options)  # type: ignore[arg-type]


def send_jobs(client: FeedbackClient, n: int, first: int = 0) -> list[str]:
    """Send ``n`` messages; return their jobs."""
    jobs = [f"job-{index}" for index in range(first, first + n)]
    for job in jobs:
        client.send(FEATURES, 90.0, job_id=job)
    return jobs


@pytest.mark.parametrize("window", [1, 16])
def test_everything_is_delivered_once_and_in_order(path: Path, window: int) -> None:
    """Lock-step and pipelined, a well-behaved sidecar gets each message exactly once, in order."""
    with ScriptedSidecar(path) as sidecar:
        client = client_of(path, window=window)
        jobs = send_jobs(client, 300)
        assert client.close()
        assert sidecar.jobs() == jobs
        assert (client.delivered(), client.rejected(), client.dropped(), client.pending()) == (300, 0, 0, 0)


def test_the_wire_carries_what_the_contract_names(path: Path) -> None:
    """Features, score and details arrive as sent; a detail that is None or not finite is left out."""
    with ScriptedSidecar(path) as sidecar:
        client = client_of(path)
        features = np.array(FEATURES, np.float32)
        client.send(features, 92.5, job_id="j", codec="libx264", width=640, preset=None, predicted_score=math.nan)
        assert client.close()
        (message,) = sidecar.received
        assert message == {
            "job_id": "j",
            "features": [float(value) for value in features],
            "true_score": 92.5,
            "codec": "libx264",
            "width": 640,
        }


def test_lock_step_never_has_two_on_the_wire(path: Path) -> None:
    """With a window of one, the next message is written only after the answer to the one before."""
    gate = threading.Semaphore(0)

    def wait_then_ok(message: Message) -> bytes:
        gate.acquire()
        return ok(message)

    with ScriptedSidecar(path, wait_then_ok) as sidecar:
        client = FeedbackClient(path)
        send_jobs(client, 3)
        assert eventually(lambda: len(sidecar.received) == 1)
        time.sleep(0.05)
        assert len(sidecar.received) == 1
        gate.release(3)
        assert client.close()


def test_send_never_waits_and_counts_what_it_drops(path: Path) -> None:
    """With nobody listening, the queue fills, `send` says so at once, and nothing goes uncounted."""
    client = client_of(path, capacity=10)
    queued = [client.send(FEATURES, 50.0) for _ in range(25)]
    assert queued == [True] * 10 + [False] * 15
    assert (client.dropped(), client.pending()) == (15, 10)
    assert not client.close(drain_timeout=0.05)
    assert (client.dropped(), client.pending()) == (25, 0)
    assert not client.send(FEATURES, 50.0)
    assert client.dropped() == 26


def test_what_is_dropped_is_in_the_log(path: Path) -> None:
    """At once, then now and then, and at the end: how many by now; not a line for each."""
    with structlog.testing.capture_logs() as logs:
        client = client_of(path, capacity=10)
        for _ in range(1000):
            client.send(FEATURES, 50.0)
        client.close(drain_timeout=0.0)
    dropped = [event["dropped"] for event in logs if event["event"] == "samples_dropped"]
    assert dropped[0] == 1
    assert dropped[-1] == 1000
    assert len(dropped) < 20


def test_an_import_can_wait_for_room(path: Path) -> None:
    """Fed in bulk through a small queue, every message is delivered."""
    with ScriptedSidecar(path) as sidecar:
        client = client_of(path, capacity=10)
        jobs = [f"job-{index}" for index in range(2000)]
        assert all(client.send(FEATURES, 50.0, job_id=job, wait=True) for job in jobs)
        assert client.close()
        assert sidecar.jobs() == jobs
        assert (client.delivered(), client.dropped()) == (2000, 0)


def test_who_waits_for_room_is_let_go_by_close(path: Path) -> None:
    """With nobody listening, a waiting `send` ends when another thread closes the client, and is counted."""
    client = client_of(path, capacity=1)
    assert client.send(FEATURES, 50.0)
    waiting = threading.Thread(target=client.send, args=[FEATURES, 50.0], kwargs={"wait": True})
    waiting.start()
    assert not client.close(drain_timeout=0.05)
    waiting.join(timeout=10)
    assert not waiting.is_alive()
    assert client.dropped() == 2


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_what_json_cannot_carry_is_refused_before_it_is_queued(path: Path, score: float) -> None:
    """A non-finite score or feature never reaches the wire, where it would stop all that is behind it."""
    with ScriptedSidecar(path) as sidecar:
        client = client_of(path)
        assert not client.send(FEATURES, score)
        assert not client.send([*FEATURES[:-1], score], 50.0)
        assert client.send(FEATURES, 50.0)
        assert client.close()
        assert len(sidecar.received) == 1
        assert (client.delivered(), client.rejected()) == (1, 2)


def test_a_refused_message_is_not_sent_again(path: Path) -> None:
    """``ok: false`` settles a message: it is counted, and the stream goes on."""

    def refuse_one(message: Message) -> bytes:
        return refusal(message) if message["job_id"] == "job-1" else ok(message)

    with ScriptedSidecar(path, refuse_one) as sidecar:
        client = client_of(path)
        jobs = send_jobs(client, 3)
        assert client.close()
        assert sidecar.jobs() == jobs
        assert (client.delivered(), client.rejected()) == (2, 1)


@pytest.mark.parametrize("window", [1, 4])
def test_unanswered_messages_go_first_on_the_next_connection(path: Path, window: int) -> None:
    """A connection that is cut before the answer costs a resend of what was unanswered, in the old order."""
    cut = threading.Event()

    def cut_once(message: Message) -> bytes | None:
        if message["job_id"] == "job-5" and not cut.is_set():
            cut.set()
            return None
        return ok(message)

    with ScriptedSidecar(path, cut_once) as sidecar:
        client = client_of(path, window=window)
        jobs = send_jobs(client, 10)
        assert client.close()
        before, after = sidecar.jobs()[:6], sidecar.jobs()[6:]
        assert before == jobs[:6]
        assert after == jobs[-len(after) :]
        assert 5 <= len(after) < 5 + window  # answers that were not read before the cut cost a resend
        assert sidecar.connections == 2
        assert client.delivered() == 10


def test_a_late_answer_costs_the_connection(path: Path) -> None:
    """Past its deadline an answer is no longer waited for: the message is sent again on a new connection."""
    stalled = threading.Event()

    def stall_once(message: Message) -> bytes:
        if not stalled.is_set():
            stalled.set()
            return b""
        return ok(message)

    with ScriptedSidecar(path, stall_once) as sidecar:
        client = client_of(path)
        send_jobs(client, 2)
        assert client.close()
        assert sidecar.jobs() == ["job-0", "job-0", "job-1"]
        assert client.delivered() == 2


def test_an_answer_in_pieces_has_one_deadline(path: Path) -> None:
    """Bytes that trickle in do not put the deadline off."""
    trickled = threading.Event()

    def trickle_once(message: Message) -> bytes:
        if not trickled.is_set():
            trickled.set()
            return ok(message)[:-1]  # the newline never comes
        return ok(message)

    with ScriptedSidecar(path, trickle_once) as sidecar:
        client = client_of(path)
        send_jobs(client, 1)
        assert client.close()
        assert sidecar.connections == 2
        assert client.delivered() == 1


LIES: dict[str, Callable[[Message], bytes]] = {
    "one answer too many": lambda message: ok(message) * 2,
    "an answer to another message": lambda _: ok({"job_id": "someone else's"}),
    "not JSON": lambda _: b"hello\n",
    "no newline": lambda _: b"x" * (1 << 17),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_answers_that_do_not_fit_cost_the_connection(path: Path, lie: Callable[[Message], bytes]) -> None:
    """A peer out of step is left, and what it did not rightly answer is sent again."""
    lied = threading.Event()

    def lie_once(message: Message) -> bytes:
        if not lied.is_set():
            lied.set()
            return lie(message)
        return ok(message)

    with ScriptedSidecar(path, lie_once) as sidecar:
        client = client_of(path)
        jobs = send_jobs(client, 3)
        assert client.close()
        assert sidecar.connections == 2
        assert list(dict.fromkeys(sidecar.jobs())) == jobs
        assert client.delivered() == 3


def test_a_sidecar_that_comes_late_gets_what_waited(path: Path) -> None:
    """Nothing listens at first; once something does, all that was queued is delivered."""
    client = client_of(path)
    jobs = send_jobs(client, 5)
    time.sleep(0.05)
    with ScriptedSidecar(path) as sidecar:
        assert client.close()
        assert sidecar.jobs() == jobs


def test_a_restarted_sidecar_is_found_again(path: Path) -> None:
    """The client outlives the sidecar: after a restart on the same path it goes on, with nothing lost."""
    client = client_of(path)
    with ScriptedSidecar(path):
        send_jobs(client, 5)
        assert eventually(lambda: client.delivered() == 5)
    path.unlink()
    with ScriptedSidecar(path) as sidecar:
        jobs = send_jobs(client, 5, first=5)
        assert client.close()
        assert sidecar.jobs() == jobs
        assert client.delivered() == 10


def test_an_announced_checkpoint_reaches_the_callback(path: Path) -> None:
    """The ``checkpoint`` of an answer is handed on; a callback that raises does not stop the stream."""
    announced: list[str] = []

    def note(checkpoint: str) -> None:
        announced.append(checkpoint)
        raise ValueError("the encoder's own fault")

    def announce_one(message: Message) -> bytes:
        return ok(message, checkpoint="/m/model_v000001.onnx") if message["job_id"] == "job-1" else ok(message)

    with ScriptedSidecar(path, announce_one):
        client = client_of(path, on_checkpoint=note)
        send_jobs(client, 3)
        assert client.close()
        assert announced == ["/m/model_v000001.onnx"]
        assert client.delivered() == 3


def test_every_message_is_counted_exactly_once(path: Path) -> None:
    """Many threads send while the connection is cut again and again: the counts add up to the calls."""
    countdown = iter(range(1, 10_000))

    def cut_often(message: Message) -> bytes | None:
        return None if next(countdown) % 37 == 0 else ok(message)

    with ScriptedSidecar(path, cut_often) as sidecar:
        client = client_of(path, window=8, capacity=100)
        threads = [threading.Thread(target=send_jobs, args=[client, 200, 200 * i]) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        client.close()
        assert client.delivered() + client.rejected() + client.dropped() == 800
        assert client.delivered() <= len(set(sidecar.jobs()))
        assert sidecar.connections > 1


def test_close_does_not_wait_for_a_sidecar_that_hangs(path: Path) -> None:
    """`close` ends a read in progress: it returns long before that read's own deadline."""
    with ScriptedSidecar(path, lambda _: b"") as sidecar:
        client = FeedbackClient(path, patience=Patience(deadline=60.0))
        send_jobs(client, 1)
        assert eventually(lambda: len(sidecar.received) == 1)
        assert not client.close(drain_timeout=0.0)
        assert client.dropped() == 1
