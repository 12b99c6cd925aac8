"""The messages that have no answer yet: one bounded queue from which a lost connection loses nothing."""

import threading
from collections import deque
from itertools import islice

from pipeline.node.message import Message


class Outbox:
    """A bounded first-in, first-out queue of messages that stay in it until they are answered.

    The first ``in_flight`` of them are on the wire. When the connection is lost none is, so the next connection
    starts with the oldest: nothing is moved, and the order is kept. Any thread may `put`; one thread sends.
    Every message is counted exactly once: delivered, rejected, dropped, or (until then) in the queue.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._messages: deque[Message] = deque()
        self._in_flight = 0
        self.delivered = 0
        self.rejected = 0
        self.dropped = 0
        self._closed = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def room(self) -> int:
        """How many more messages the queue takes now."""
        return max(0, self._capacity - len(self._messages))

    def put(self, message: Message, *, wait: bool = False) -> bool:
        """Queue a message; False, and counted as dropped, when the queue is full or closed.

        With ``wait`` a full queue is waited for, as long as it is not closed; without, `put` never waits.
        """
        with self._changed:
            if wait:
                self._changed.wait_for(lambda: self._closed or self.room)
            if self._closed or not self.room:
                self.dropped += 1
                return False
            self._messages.append(message)
            self._changed.notify_all()
            return True

    def take(self, window: int) -> list[Message]:
        """Return the next messages to write, so that at most ``window`` are on the wire.

        Waits while nothing is queued and nothing on the wire; empty when the window is full, or after `close`.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._messages)
            if self._closed:
                return []
            unsent = list(islice(self._messages, self._in_flight, window))
            self._in_flight += len(unsent)
            return unsent

    def awaited(self) -> Message | None:
        """Return the message that the next answer is for; None when none is on the wire."""
        with self._changed:
            return self._messages[0] if self._in_flight else None

    def settle(self, *, ok: bool) -> None:
        """Remove and count the message that was answered, which is the oldest."""
        with self._changed:
            if self._closed:
                return
            self._messages.popleft()
            self._in_flight -= 1
            self.delivered += ok
            self.rejected += not ok
            self._changed.notify_all()

    def refuse(self) -> None:
        """Count as rejected a message that cannot be sent at all."""
        with self._changed:
            self.rejected += 1

    def rewind(self) -> None:
        """Take note that the connection is gone: what was on the wire is to be written again, in its order."""
        with self._changed:
            self._in_flight = 0

    def wait_empty(self, timeout: float) -> bool:
        """Wait until every message is answered, at most ``timeout`` seconds; tell whether that is so."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._messages, timeout)

    def close(self) -> None:
        """Take and give nothing more; what is unanswered counts as dropped."""
        with self._changed:
            self.dropped += len(self._messages)
            self._messages.clear()
            self._in_flight = 0
            self._closed = True
            self._changed.notify_all()
