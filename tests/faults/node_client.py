"""A client that behaves as the platform's Go node does: lock-step, two seconds for an answer, a queue of a thousand.

What it does when something fails is in section 1 of the contract: past a deadline, or when the connection is lost, the
message goes back to the end of the queue and the socket is dialled at once; after a refused dial it pauses for ten
seconds; what the queue cannot hold meanwhile is lost.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import random
import socket
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

from tests.support.sidecar import N_FEATURES

QUEUE = 1000
DEADLINE_S = 2.0
DIAL_S = 5.0
PAUSE_S = 10.0


@dataclass
class Tally:
    """What a client has seen. `answers` counts the answers by job_id; `worst_s` is the slowest, in seconds."""

    produced: int = 0
    dropped: int = 0
    dials: int = 0
    refused_dials: int = 0
    lost_connections: int = 0
    late: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    rejected: list[str] = field(default_factory=list)
    worst_s: float = 0.0

    @property
    def answered_once(self) -> int:
        """Number of messages with one answer."""
        return sum(count == 1 for count in self.answers.values())


class NodeClient:
    """Runs in a process of its own, from construction to `stop`."""

    def __init__(self, path: str, rate: float) -> None:
        self._ours, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        self._process = context.Process(target=_run, args=(path, rate, theirs), daemon=True)
        self._process.start()
        self._ours.recv()

    def stop(self, patience_s: float = 60.0) -> Tally:
        """Produce no more, send what is queued, and return what was seen."""
        self._ours.send(patience_s)
        tally: Tally = self._ours.recv()
        self._process.join()
        return tally


def _run(path: str, rate: float, control: Connection) -> None:
    sender = _Sender(path)
    producer = threading.Thread(target=_produce, args=(sender, rate), daemon=True)
    sender.start()
    producer.start()
    control.send("at work")
    patience_s = control.recv()
    sender.ending.set()
    producer.join()
    sender.join(patience_s)
    control.send(sender.tally)


def _produce(sender: _Sender, rate: float) -> None:
    """Offer messages at `rate` a second, whatever becomes of them."""
    began, rng = time.monotonic(), random.Random(0)
    for number in itertools.count():
        if sender.ending.wait(max(0.0, began + number / rate - time.monotonic())):
            return
        features = [round(rng.random(), 6) for _ in range(N_FEATURES)]
        message = {"job_id": str(number), "features": features, "true_score": 100 * features[0]}
        sender.offer(json.dumps(message).encode() + b"\n")


class _Sender(threading.Thread):
    """The one connection."""

    def __init__(self, path: str) -> None:
        super().__init__(daemon=True)
        self.tally = Tally()
        self.ending = threading.Event()
        self._path = path
        self._queue: deque[bytes] = deque()
        self._socket: socket.socket | None = None

    def offer(self, line: bytes) -> None:
        """Queue a new message, or lose it."""
        self.tally.produced += 1
        self._put(line)

    def _put(self, line: bytes) -> None:
        if len(self._queue) >= QUEUE:
            self.tally.dropped += 1
        else:
            self._queue.append(line)

    def run(self) -> None:
        while self._queue or not self.ending.is_set():
            if not self._queue:
                time.sleep(0.0002)
            elif self._socket is None:
                self._dial()
            else:
                self._exchange(self._socket, self._queue.popleft())

    def _dial(self) -> None:
        self.tally.dials += 1
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(DIAL_S)
        try:
            connection.connect(self._path)
        except OSError:
            connection.close()
            self.tally.refused_dials += 1
            time.sleep(PAUSE_S)
            return
        connection.settimeout(DEADLINE_S)
        self._socket, self._answers = connection, connection.makefile("rb")

    def _exchange(self, connection: socket.socket, line: bytes) -> None:
        began = time.monotonic()
        try:
            connection.sendall(line)
            answer = self._answers.readline()
        except TimeoutError:
            self.tally.late += 1
            answer = b""
        except OSError:
            answer = b""
        if not answer.endswith(b"\n"):
            self.tally.lost_connections += 1
            self._answers.close()
            connection.close()
            self._socket = None
            self._put(line)
            return
        self.tally.worst_s = max(self.tally.worst_s, time.monotonic() - began)
        self._note(json.loads(answer))

    def _note(self, answer: dict[str, object]) -> None:
        if answer["ok"]:
            self.tally.answers[str(answer["job_id"])] += 1
        else:
            self.tally.rejected.append(str(answer["error"]))
