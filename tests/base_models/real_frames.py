"""Real frames for a sidecar on a base model, and what the trainer makes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline import data
from pipeline.corpus.read import load_corpus
from pipeline.runtime import regions
from pipeline.runtime.messages import TrainerSnapshot, decode_snapshot
from pipeline.runtime.reports import TrainerReport
from tests.support.sidecar import Sidecar


def rows(n_features: int, count: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return real feature vectors, filled up to `n_features` with a codec block, and their scores."""
    corpus = load_corpus(data.CORPUS)
    features = np.zeros((count, n_features), np.float32)
    features[:, :6] = corpus.features[:count]
    if n_features > 6:
        features[np.arange(count), 6 + corpus.clip[:count] % 3] = 1.0
    return features, corpus.targets["vmaf_phone"][:count]


def send(sidecar: Sidecar, features: NDArray[np.float32], scores: NDArray[np.float32]) -> None:
    """Send samples, pipelined, and check that each is accepted."""
    messages = [
        {"job_id": f"{i}", "source_id": f"s{i // 20}", "features": vector, "true_score": score}
        for i, (vector, score) in enumerate(zip(features.tolist(), scores.tolist(), strict=True))
    ]
    with sidecar.client() as client:
        for start in range(0, len(messages), 100):
            assert all(answer["ok"] for answer in client.ask_all(messages[start : start + 100]))


def trained(sidecar: Sidecar, samples: int) -> TrainerReport:
    """Wait until the trainer has seen that many samples; return its report."""
    sidecar.wait_for(lambda: sidecar.reported().trainer.cursor == samples and not sidecar.reported().trainer.lag)
    return sidecar.reported().trainer


def export(sidecar: Sidecar) -> Path:
    """Have a checkpoint written as an operator does; return its path."""
    done = sidecar.command("export")
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def snapshot(sidecar: Sidecar) -> TrainerSnapshot:
    """Read what the trainer has published in shared memory."""
    box, region = regions.attach_mailbox(sidecar.settings, "weights")
    published = box.read()
    assert published is not None
    region.close()
    return decode_snapshot(published.payload)
