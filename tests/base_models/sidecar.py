"""A sidecar on a base model, fed with real frames."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline import data
from pipeline.config import load
from pipeline.corpus.read import load_corpus
from pipeline.runtime import regions
from pipeline.runtime.messages import TrainerSnapshot, decode_snapshot
from tests.contract.sidecar import COMMAND, Sidecar

DEADLINE_S = 60.0


def rows(n_features: int, count: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return real feature vectors, filled up to `n_features` with a codec block, and their scores."""
    corpus = load_corpus(data.CORPUS)
    features = np.zeros((count, n_features), np.float32)
    features[:, :6] = corpus.features[:count]
    if n_features > 6:
        features[np.arange(count), 6 + corpus.clip[:count] % 3] = 1.0
    return features, corpus.targets["vmaf_phone"][:count]


def send(path: Path, features: NDArray[np.float32], scores: NDArray[np.float32]) -> None:
    """Send samples, pipelined, and check that each is accepted."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        for start in range(0, len(features), 100):
            messages = [
                {
                    "job_id": f"{i}",
                    "source_id": f"s{i // 20}",
                    "features": features[i].tolist(),
                    "true_score": float(scores[i]),
                }
                for i in range(start, min(start + 100, len(features)))
            ]
            client.sendall("".join(json.dumps(message) + "\n" for message in messages).encode())
            answers = b""
            while answers.count(b"\n") < len(messages):
                received = client.recv(1 << 16)
                assert received, "the sidecar closed the connection"
                answers += received
            assert answers.count(b'"ok":true') == len(messages), answers


def wait_until_trained(sidecar: Sidecar, samples: int) -> dict[str, object]:
    """Wait until the trainer has seen that many samples; return its report."""
    give_up = time.monotonic() + DEADLINE_S
    while time.monotonic() < give_up:
        trainer: dict[str, object] = sidecar.status()["trainer"]
        if trainer["cursor"] == samples and trainer["lag"] == 0:
            return trainer
        time.sleep(0.1)
    raise AssertionError(f"the trainer has not seen {samples} samples:\n{sidecar.log.read_text()}")


def export(sidecar: Sidecar) -> Path:
    """Have a checkpoint written as an operator does; return its path."""
    command = [*COMMAND, "export", "--socket", str(sidecar.socket)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def snapshot(sidecar: Sidecar) -> TrainerSnapshot:
    """Read what the trainer has published in shared memory."""
    settings = load({"VMAFX_SIDECAR_SOCKET": str(sidecar.socket)})
    box, region = regions.attach_mailbox(settings, "weights")
    letter = box.read()
    assert letter is not None
    region.close()
    return decode_snapshot(letter.payload)
