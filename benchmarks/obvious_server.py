"""The server that one would write first, to compare with: `python -m benchmarks.obvious_server SOCKET N_FEATURES`.

A thread for each connection, json.loads, a deque under a lock, an answer sent for each message; a thread of the same
process trains with torch, a step for 16 new samples or more.
"""

from __future__ import annotations

import contextlib
import json
import random
import socketserver
import sys
import threading
import time
from collections import deque
from pathlib import Path

import torch
from torch import nn

_CAPACITY, _BATCH, _NEW_ROWS = 10_000, 32, 16


class Training:
    """What has been received, and the model that learns from it."""

    def __init__(self, n_features: int) -> None:
        self.n_features = n_features
        self.lock = threading.Lock()
        self.samples: deque[tuple[list[float], float]] = deque(maxlen=_CAPACITY)
        self.received = self.step = 0
        self.loss = 0.0
        self._model = nn.Sequential(nn.Linear(n_features, 64), nn.ReLU(), nn.Linear(64, 1))
        self._optimizer = torch.optim.SGD(self._model.parameters(), lr=1e-4, momentum=0.9, weight_decay=1e-5)

    def run(self) -> None:
        """Train for ever."""
        torch.set_num_threads(1)
        learned = 0
        while True:
            with self.lock:
                due = self.received - learned >= _NEW_ROWS and len(self.samples) >= _BATCH
                batch = random.sample(self.samples, _BATCH) if due else []
                learned = self.received
            if batch:
                self._train(batch)
            else:
                time.sleep(0.01)

    def _train(self, batch: list[tuple[list[float], float]]) -> None:
        features = torch.tensor([sample[0] for sample in batch])
        score = torch.tensor([sample[1] for sample in batch])
        self._optimizer.zero_grad()
        loss = nn.functional.mse_loss(self._model(features)[:, 0], score)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
        self._optimizer.step()
        self.loss = loss.item()
        self.step += 1


class Handler(socketserver.StreamRequestHandler):
    """One connection."""

    training: Training

    def handle(self) -> None:
        """Answer line by line."""
        with contextlib.suppress(OSError):
            for line in self.rfile:
                self.wfile.write(json.dumps(self._take(line)).encode() + b"\n")

    def _take(self, line: bytes) -> dict[str, object]:
        training = self.training
        try:
            sample = json.loads(line)
            features, score = [float(value) for value in sample["features"]], float(sample["true_score"])
            if len(features) != training.n_features:
                raise ValueError(f"feature vector length {len(features)} != expected {training.n_features}")
        except (ValueError, KeyError, TypeError) as error:
            return {"ok": False, "error": str(error)}
        with training.lock:
            training.samples.append((features, score))
            training.received += 1
        return {"ok": True, "step": training.step, "loss": training.loss, "job_id": sample["job_id"]}


class Server(socketserver.ThreadingUnixStreamServer):
    """The listening socket."""

    daemon_threads = True
    request_queue_size = 512


def main() -> None:
    """Serve until killed."""
    path, n_features = sys.argv[1], int(sys.argv[2])
    Path(path).unlink(missing_ok=True)
    Handler.training = Training(n_features)
    threading.Thread(target=Handler.training.run, daemon=True).start()
    with Server(path, Handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
