"""The soak's clients, in a process of their own: numbered samples at a rate, every tenth line one to be refused."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import socket
import threading
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

CONNECTIONS = 8
BATCH = 20
HOSTILE_SHARE = 10
"""One line in so many is hostile."""
N_FEATURES = 6
DEADLINE_S = 2.0
_HIGH = 1 << 20  # a multiple of 2**-20 below 1 is exact in float32, so a number takes two features
_INPUTS = Path(__file__).resolve().parents[1] / "hostile/inputs"


@dataclass
class Tally:
    """What the clients have seen since the last time it was asked for."""

    answered: list[tuple[int, int]] = field(default_factory=list)
    """Batches of samples that were answered ok: connection, and number of the batch on it."""
    slow: list[tuple[float, float]] = field(default_factory=list)
    """Answers that took longer than ever before or than 50 ms: when (monotonic), and how long, in seconds."""
    refused: int = 0
    resent: int = 0
    wrong: list[str] = field(default_factory=list)


def sample_numbers(batches: list[tuple[int, int]]) -> NDArray[np.int64]:
    """Return the numbers int64[n] of the samples in batches of `Tally.answered`."""
    places = np.array([(batch * CONNECTIONS + connection) * BATCH for connection, batch in batches], np.int64)
    return (places[:, None] + np.arange(BATCH)).ravel()


def numbers_of(features: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the numbers int64[n] of the samples with features float32[n, 6]."""
    low, high = (features[:, :2].T * np.float32(_HIGH)).astype(np.int64)
    numbers: NDArray[np.int64] = low + high * _HIGH
    return numbers


def _line(number: int) -> bytes:
    high, low = divmod(number, _HIGH)
    x = number % 97 / 97
    features = f"[{low / _HIGH},{high / _HIGH},{x:.6f},{1 - x:.6f},{x * x:.6f},1]"
    return (
        f'{{"job_id":"{number}","features":{features},'
        f'"true_score":{100 * x:.4f},"source_id":"source {number // 500}"}}\n'
    ).encode()


def hostile_lines() -> list[bytes]:
    """Return the lines of tests/hostile/inputs that have to be refused."""
    expected: dict[str, list[list[str | None]]] = json.loads((_INPUTS / "expected.json").read_text())
    paths = [_INPUTS / f"{name}.in" for name, outcomes in expected.items() if outcomes[0][0] != "accepted"]
    lines = [path.read_bytes().split(b"\n")[0] + b"\n" for path in paths if path.exists()]
    return [line for line in lines if line.strip()]


class _Client(threading.Thread):
    """One connection: batches in lock-step at its share of the rate, sent again when the answers do not come."""

    def __init__(self, path: str, connection: int, rate: float, tally: Tally) -> None:
        super().__init__(daemon=True)
        self._path, self._connection, self._tally = path, connection, tally
        self._interval = BATCH / rate
        self._hostile = itertools.cycle(hostile_lines())
        self._step = -1
        self.stopping = False

    def run(self) -> None:
        due = time.monotonic()
        for batch in itertools.count():
            while not self._deliver(batch):
                self._tally.resent += 1
                time.sleep(0.1)
                if self.stopping:
                    return
            self._tally.answered.append((self._connection, batch))
            if self.stopping:
                return
            due = max(due + self._interval, time.monotonic() - 1)
            time.sleep(max(0.0, due - time.monotonic()))

    def _deliver(self, batch: int) -> bool:
        if not hasattr(self, "_socket") and not self._connect():
            return False
        first = (batch * CONNECTIONS + self._connection) * BATCH
        lines = [_line(number) for number in range(first, first + BATCH)]
        refusals = BATCH // (HOSTILE_SHARE - 1)
        for place in range(refusals):
            lines.insert(place * HOSTILE_SHARE, next(self._hostile))
        began = time.monotonic()
        try:
            self._socket.sendall(b"".join(lines))
            answers = [json.loads(self._read()) for _ in lines]
        except (OSError, EOFError):
            self._disconnect()
            return False
        self._note(time.monotonic() - began)
        return self._check([str(number) for number in range(first, first + BATCH)], answers)

    def _connect(self) -> bool:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(DEADLINE_S)
        try:
            connection.connect(self._path)
        except OSError:
            connection.close()
            return False
        self._socket, self._answers = connection, connection.makefile("rb")
        return True

    def _disconnect(self) -> None:
        self._answers.close()
        self._socket.close()
        del self._socket

    def _read(self) -> bytes:
        line = self._answers.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        return line

    def _note(self, seconds: float) -> None:
        if seconds > 0.05 or not self._tally.slow:
            self._tally.slow.append((time.monotonic(), seconds))

    def _check(self, jobs: list[str], answers: list[dict[str, object]]) -> bool:
        accepted = [answer for answer in answers if answer["ok"]]
        self._tally.refused += len(answers) - len(accepted)
        if [answer["job_id"] for answer in accepted] != jobs:
            self._tally.wrong.append(f"connection {self._connection}: {answers}")
        steps = [int(str(answer["step"])) for answer in accepted]
        if steps and (steps != sorted(steps) or steps[0] < self._step):
            self._tally.wrong.append(f"connection {self._connection}: step fell from {self._step} to {steps}")
        self._step = steps[-1] if steps else self._step
        return True


class Feeder:
    """The process of the clients; `take` returns what they have seen since the last time."""

    def __init__(self, path: str, rate: float) -> None:
        self._ours, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        self._process = context.Process(target=_feed, args=(path, rate, theirs), daemon=True)
        self._process.start()

    def take(self) -> Tally:
        """Return the newest tally."""
        self._ours.send("take")
        tally: Tally = self._ours.recv()
        return tally

    def stop(self) -> Tally:
        """Let every client finish its batch; return the last tally."""
        self._ours.send("stop")
        tally: Tally = self._ours.recv()
        self._process.join()
        return tally


def _feed(path: str, rate: float, requests: Connection) -> None:
    tallies = [Tally() for _ in range(CONNECTIONS)]
    clients = [_Client(path, i, rate / CONNECTIONS, tally) for i, tally in enumerate(tallies)]
    for client in clients:
        client.start()
    while requests.recv() == "take":
        requests.send(_merged(clients))
    for client in clients:
        client.stopping = True
    for client in clients:
        client.join(60)
    requests.send(_merged(clients))


def _merged(clients: list[_Client]) -> Tally:
    merged = Tally()
    for client in clients:
        seen, client._tally = client._tally, Tally()
        merged.answered += seen.answered
        merged.slow += seen.slow
        merged.refused += seen.refused
        merged.resent += seen.resent
        merged.wrong += seen.wrong
    return merged
