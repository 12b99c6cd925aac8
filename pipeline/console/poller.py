"""supervisord's poller, woken by signals: otherwise it starts its children a second late, and restarts them later."""

from __future__ import annotations

import os
import signal
from typing import Any

from supervisor.poller import PollPoller


class PromptPoller(PollPoller):  # type: ignore[misc]  # untyped
    """Ends its wait when a signal arrives, and does not wait in the turn after that one, nor in the first.

    supervisord takes note of a child's end at the end of a turn, and starts children after the wait of the next.
    """

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self._signalled, write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        self._again = True

    def poll(self, timeout: float) -> tuple[list[int], list[int]]:
        """Wait up to `timeout` seconds; return the descriptors that can be read and those that can be written."""
        self.register_readable(self._signalled)
        readable, writable = super().poll(0 if self._again else timeout)
        self._again = self._signalled in readable
        if self._again:
            os.read(self._signalled, 4096)
            readable.remove(self._signalled)
        return readable, writable
