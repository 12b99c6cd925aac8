"""`FeedbackClient`: sends what an encoder measured to the sidecar, without ever making the encoder wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.node.link import Answer, Link, OutOfStepError
from pipeline.node.log import log
from pipeline.node.message import Detail, Message, encode
from pipeline.node.outbox import Outbox

if TYPE_CHECKING:
    from pipeline.node.message import Features

QUEUE_CAPACITY = 1000
LOCK_STEP = 1
"""The window of a client that waits for each answer before it writes the next message."""

DROP_NOTE_S = 10.0
"""Seconds between two lines of the log that say how many messages were dropped."""


@dataclass(frozen=True)
class Patience:
    """How long to wait for what, in seconds; the pause between dials doubles from the first to the longest."""

    dial: float = 5.0
    deadline: float = 2.0
    first_pause: float = 0.1
    longest_pause: float = 10.0


class FeedbackClient:
    """A queue, a thread and at most one connection; usable from any thread.

    Every call of `send` is counted exactly once: delivered, rejected, dropped, or (until then) pending.

    ``window`` messages at most are on the wire without an answer. ``on_checkpoint`` is called on the client's
    thread with the path that an answer announces, and must return soon.
    """

    def __init__(
        self,
        socket_path: Path | str,
        *,
        window: int = LOCK_STEP,
        capacity: int = QUEUE_CAPACITY,
        patience: Patience | None = None,
        on_checkpoint: Callable[[str], None] = lambda _path: None,
    ) -> None:
        self._path = Path(socket_path)
        self._window = window
        self._patience = patience or Patience()
        self._on_checkpoint = on_checkpoint
        self._outbox = Outbox(capacity)
        self._closed = threading.Event()
        self._link: Link | None = None
        self._reachable = True
        self._pause = self._patience.first_pause
        self._last_rejection = ""
        self._noting = threading.Lock()
        self._next_note = 0.0
        self._thread = threading.Thread(target=self._run, name="feedback", daemon=True)
        self._thread.start()

    def send(
        self,
        features: Features,
        true_score: float,
        *,
        job_id: str | None = None,
        wait: bool = False,
        **details: Detail,
    ) -> bool:
        """Queue one scored frame; tell whether it was queued.

        Where the queue is full the frame is dropped, counted and logged; with ``wait``, which is for imports and not
        for an encoder, `send` returns when there is room, or false once the client is closed.

        features: in the order of the model's input; true_score: 0 to 100; details: the optional
        fields of the wire (``source_id``, ``codec``, …), of which those that are None or not finite are left
        out. A non-finite feature or score, which JSON cannot carry, is refused here and counted as rejected.
        """
        message = encode(features, true_score, job_id, details)
        if message is None:
            self._outbox.refuse()
            return False
        queued = self._outbox.put(message, wait=wait)
        if not queued:
            self._note_drop()
        return queued

    def room(self) -> int:
        """Return how many more messages the queue takes now."""
        return self._outbox.room

    def delivered(self) -> int:
        """Messages that were answered ``ok: true``."""
        return self._outbox.delivered

    def rejected(self) -> int:
        """Messages that were answered ``ok: false``, or that `send` refused."""
        return self._outbox.rejected

    def rejection(self) -> str:
        """Return why the sidecar refused the last message that it refused; empty where it refused none."""
        return self._last_rejection

    def dropped(self) -> int:
        """Messages for which the queue had no room, or that `close` left unanswered."""
        return self._outbox.dropped

    def pending(self) -> int:
        """Messages queued or on the wire."""
        return len(self._outbox)

    def close(self, drain_timeout: float = 5.0) -> bool:
        """Wait until all is answered, at most ``drain_timeout`` seconds, and stop; tell whether all was."""
        drained = self._outbox.wait_empty(drain_timeout)
        self._closed.set()
        self._outbox.close()
        if link := self._link:
            link.hang_up()
        self._thread.join()
        if self.dropped():
            log.warning("samples_dropped", dropped=self.dropped(), pending=0)
        return drained

    def _run(self) -> None:
        log.load()
        while not self._closed.is_set():
            try:
                self._connect_and_converse()
            except OSError as error:
                self._note_loss(error)
            self._outbox.rewind()
            self._closed.wait(self._pause)
            self._pause = min(2 * self._pause, self._patience.longest_pause)

    def _connect_and_converse(self) -> None:
        with Link(self._path, dial_s=self._patience.dial, deadline_s=self._patience.deadline) as link:
            self._link = link
            self._reachable = True
            log.info("feedback_connected", socket=str(self._path), pending=self.pending())
            while not self._closed.is_set():
                self._exchange(link)

    def _exchange(self, link: Link) -> None:
        if unsent := self._outbox.take(self._window):
            link.write(b"".join(message.line for message in unsent))
        if self._outbox.awaited():
            for answer in link.read():
                self._settle(answer)

    def _settle(self, answer: Answer) -> None:
        message = self._outbox.awaited()
        if message is None:
            raise OutOfStepError("an answer to no message")
        if answer.job_id not in {None, message.job_id}:
            raise OutOfStepError(f"an answer to {answer.job_id!r} in place of {message.job_id!r}")
        self._outbox.settle(ok=answer.ok)
        self._pause = self._patience.first_pause
        if not answer.ok:
            self._note_rejection(message, answer)
        if answer.checkpoint:
            self._announce(answer.checkpoint)

    def _announce(self, checkpoint: str) -> None:
        try:
            self._on_checkpoint(checkpoint)
        except Exception:  # the encoder's fault must not end the thread that feeds the sidecar
            log.exception("checkpoint_callback_failed", checkpoint=checkpoint)

    def _note_rejection(self, message: Message, answer: Answer) -> None:
        if answer.error != self._last_rejection:  # a whole stream can be wrong in the same way
            self._last_rejection = answer.error
            log.warning("sample_rejected", job_id=message.job_id, error=answer.error)

    def _note_drop(self) -> None:
        with self._noting:
            now = time.monotonic()
            if now < self._next_note:
                return
            self._next_note = now + DROP_NOTE_S
        log.warning("samples_dropped", dropped=self.dropped(), pending=self.pending())

    def _note_loss(self, error: OSError) -> None:
        if self._reachable and not self._closed.is_set():  # once, not at every dial
            self._reachable = False
            log.warning("feedback_disconnected", socket=str(self._path), reason=str(error), pending=self.pending())
