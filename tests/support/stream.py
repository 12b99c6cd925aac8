"""A client that streams numbered samples and remembers which were answered ok, whatever happens to the sidecar."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from pipeline.shm.rows import RowBatch
from tests.support.client import Client
from tests.support.sidecar import N_FEATURES, Sidecar

_BATCH = 10
_PAUSE_S = 0.005
_SCALE = 1 << 20  # its fractions are exact in float32


def numbered(number: int) -> dict[str, Any]:
    """Return the sample `number`, below 2**20, which its first feature tells; its score can be learned."""
    x = (number % 97) / 97
    return {
        "job_id": str(number),
        "features": [number / _SCALE, x, 1 - x, x * x, 0.5, 1.0][:N_FEATURES],
        "true_score": 100 * x,
        "source_id": f"source {number % 23}",
    }


def numbers(rows: RowBatch) -> list[int]:
    """Return which samples `rows` are."""
    return [int(value * _SCALE) for value in rows.features[:, 0].tolist()]


class Stream:
    """Sends lock-step batches in a thread, reconnecting and resending as the node does."""

    def __init__(
        self, sidecar: Sidecar, first: int = 1, scores: Callable[[float], float] = lambda score: score
    ) -> None:
        self._scores = scores
        self._sidecar = sidecar
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._next = first
        self.answered: list[int] = []
        self.steps: list[int] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def wait_for_more(self, count: int) -> None:
        """Wait until `count` more samples are answered."""
        enough = len(self.answered) + count
        self._sidecar.wait_for(lambda: len(self.answered) >= enough)

    def _run(self) -> None:
        while not self._stop.is_set():
            with suppress(OSError, AssertionError), self._sidecar.client() as client:
                while not self._stop.is_set():
                    self._send(client)
                    time.sleep(_PAUSE_S)
            time.sleep(0.02)

    def _send(self, client: Client) -> None:
        batch = range(self._next, self._next + _BATCH)
        samples = [numbered(number) for number in batch]
        for sample in samples:
            sample["true_score"] = self._scores(sample["true_score"])
        answers = client.ask_all(samples)
        assert all(answer["ok"] for answer in answers), answers
        self.answered += batch
        self.steps += [answer["step"] for answer in answers]
        self._next = batch.stop

    def missing(self, rows: RowBatch) -> list[int]:
        """Return the samples that were answered ok and are not in `rows`."""
        return sorted(set(self.answered) - set(numbers(rows)))
