"""The fake vmafx-node: plays a corpus of scored frames as if it were encoding, and follows the checkpoints."""

import time
import uuid
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import structlog

from pipeline.corpus.table import Corpus, CorpusError
from pipeline.model.accuracy import rmse
from pipeline.model.errors import UnusableModel
from pipeline.model.features import features_of
from pipeline.model.mos import FIVE_GRADES, Scale, from_hundred
from pipeline.node.feedback import LOCK_STEP, FeedbackClient
from pipeline.node.model import NodeModel
from pipeline.node.policy import LATEST_STABLE
from pipeline.node.schedule import Stop, interleave, paced
from pipeline.node.watcher import CheckpointWatcher

log = structlog.get_logger()

_FULL_S = 0.02  # between two looks at a queue that is full

RECENT = 1000
"""Frames sent last, on which a swap is judged."""


@dataclass(frozen=True)
class NodeOptions:
    """Where the sidecar is, where its checkpoints are, and how this node uses both.

    `checkpoint_dir` may be the URL of a registry.
    """

    socket: Path
    checkpoint_dir: Path | str
    base_model: Path
    policy: str = LATEST_STABLE
    public_key: Path | None = None
    connections: int = 1
    window: int = LOCK_STEP
    ground_truth: str = ""
    mos_range: Scale = FIVE_GRADES


@dataclass(frozen=True)
class Counts:
    """What became of the frames so far, and how often the model was swapped."""

    sent: int
    delivered: int
    rejected: int
    dropped: int
    pending: int
    swaps: int


class FakeNode:
    """One client per connection, one watcher, and the frames of ``corpus`` with their scores of ``target``.

    Raises `CorpusError` where the corpus has no such target, or not what the base model takes, and `UnusableModel`
    where the base model cannot be used.
    """

    def __init__(self, corpus: Corpus, target: str, options: NodeOptions) -> None:
        self._corpus = corpus = corpus.with_score(target)
        self._scores = corpus.target(target)
        self._opinions = corpus.target(options.ground_truth) if options.ground_truth else np.full(len(corpus), np.nan)
        self._mos_range = options.mos_range
        self._target = target
        self._lanes = options.connections
        self._run = uuid.uuid4().hex[:12]
        self._recent: deque[int] = deque(maxlen=RECENT)
        self._sent = 0
        self._swaps = 0
        self.watcher = CheckpointWatcher(
            options.checkpoint_dir,
            options.base_model,
            options.policy,
            on_swap=self._note_swap,
            public_key=options.public_key,
        )
        self._inputs = self._made_for(options.base_model)
        self._clients = [
            FeedbackClient(options.socket, window=options.window, on_checkpoint=self.watcher.hint)
            for _ in range(options.connections)
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def stream(self, stop: Stop, *, rate: float, samples: int | None = None, loop: bool = False) -> None:
        """Send frames, ``rate`` a second, until ``samples`` are sent, the corpus is at its end, or told to stop.

        Where the sidecar takes them more slowly, the stream waits: none is dropped.
        """
        frames = islice(interleave(self._corpus, self._lanes, loop=loop), samples)
        for lane, row in paced(frames, rate, stop):
            client = self._clients[lane]
            while not client.room():
                if stop.wait(_FULL_S):
                    return
            self._send(client, row)

    def drain(self, stop: Stop) -> None:
        """Wait until every frame is answered, for as long as that takes, or told to stop."""
        while self.counts().pending and not stop.wait(0.05):
            pass

    def counts(self) -> Counts:
        """Return the counts over all connections."""
        return Counts(
            sent=self._sent,
            delivered=sum(client.delivered() for client in self._clients),
            rejected=sum(client.rejected() for client in self._clients),
            dropped=sum(client.dropped() for client in self._clients),
            pending=sum(client.pending() for client in self._clients),
            swaps=self._swaps,
        )

    def close(self, drain_timeout: float = 5.0) -> None:
        """Stop everything, after ``drain_timeout`` seconds at most for what is unanswered."""
        give_up = time.monotonic() + drain_timeout
        for client in self._clients:
            client.close(max(0.0, give_up - time.monotonic()))
        self.watcher.close()

    def _made_for(self, base_model: Path) -> npt.NDArray[np.float32]:
        """Return what the model takes of each frame, which is what a sidecar is sent."""
        try:
            return self._corpus.inputs(features_of(base_model, self.watcher.model.session.inputs))
        except (CorpusError, UnusableModel):
            self.watcher.close()
            raise

    def _opinion(self, row: int) -> float | None:
        """Return the clip's subjective score on its own scale; None where it has none."""
        opinion = float(self._opinions[row])
        return None if np.isnan(opinion) else from_hundred(opinion, self._mos_range)

    def _send(self, client: FeedbackClient, row: int) -> None:
        features = self._inputs[row : row + 1]
        self._sent += 1
        client.send(
            features[0],
            self._scores[row],
            job_id=f"{self._run}-{self._sent}",
            predicted_score=float(self.watcher.predict(features)[0]),
            source_id=f"{self._corpus.source[row]}/{self._corpus.clip[row]}",
            ground_truth_score=self._opinion(row),
            codec=str(self._corpus.codec[row]),
            vmaf_model=self._target,
            node_id="fake-node",
            captured_at=datetime.now(UTC).isoformat(),
        )
        self._recent.append(row)

    def _note_swap(self, before: NodeModel, after: NodeModel) -> None:
        self._swaps += 1
        rows = list(self._recent)
        log.info(
            "model_swapped",
            before=before.name,
            after=after.name,
            rmse_before=self._error(before, rows),
            rmse_after=self._error(after, rows),
            frames=len(rows),
        )

    def _error(self, model: NodeModel, rows: list[int]) -> float | None:
        if not rows:
            return None
        return round(rmse(model.predict(np.ascontiguousarray(self._inputs[rows])), self._scores[rows]), 3)
