"""One loop that serves every client: read all that are ready, make the rows visible, then answer."""

from __future__ import annotations

import errno
import select
import time
from collections.abc import Callable

from pipeline.config import Settings
from pipeline.ingest.admission import Admission
from pipeline.ingest.answers import AnswerPrefix
from pipeline.ingest.connection import Connection
from pipeline.ingest.framing import Block
from pipeline.ingest.listener import Listener
from pipeline.shm.bell import Bell

_ACCEPTS_PER_ROUND = 64
# Bytes taken in a round, shared by the connections that have some: enough for throughput, and so few that even where
# every line has to be refused, which costs most, the last connection is answered in time.
_ROUND_BYTES = 262144
_MOST_BYTES, _LEAST_BYTES = 65536, 1024
# How long to leave new clients in the backlog when there are no descriptors left, in seconds.
_ACCEPT_PAUSE_S = 0.5
_SWEEP_INTERVAL_S = 1.0


class Server:
    """The socket loop. `round` does one turn; the process around it decides when to stop."""

    def __init__(self, settings: Settings, listener: Listener, admission: Admission, answers: AnswerPrefix) -> None:
        self._settings = settings
        self._listener = listener
        self._admission = admission
        self._answers = answers
        self._epoll = select.epoll()
        self._epoll.register(listener.fileno(), select.EPOLLIN)
        self._connections: dict[int, Connection] = {}
        self._others: dict[int, Callable[[], None]] = {listener.fileno(): self._accept}
        self._accept_again_at = 0.0
        self._now = self._swept_at = time.monotonic()
        self.connections_total = 0
        self.connections_refused = 0
        self.bytes_received = 0
        self.refusal = ""

    def __len__(self) -> int:
        return len(self._connections)

    @property
    def waiting(self) -> int:
        """Number of clients that must read their answers before they are served again."""
        return sum(not connection.watching & select.EPOLLIN for connection in self._connections.values())

    def wake_for(self, bell: Bell) -> None:
        """Let `bell` end a round's wait."""
        self._others[bell.fd] = bell.silence
        self._epoll.register(bell.fd, select.EPOLLIN)

    def round(self, timeout: float) -> bool:
        """Serve whoever is ready, waiting up to `timeout` seconds for one; return whether anybody was."""
        events = self._poll(timeout)
        share = min(_MOST_BYTES, max(_LEAST_BYTES, _ROUND_BYTES // max(1, len(events))))
        served = [each for fd, mask in events if (each := self._serve(fd, mask, share)) is not None]
        replies = self._admission.admit([blocks for _, blocks in served], self._answers.plain)
        for (connection, _), reply in zip(served, replies, strict=True):
            self._reply(connection, reply)
        self._sweep()
        return bool(events)

    def _poll(self, timeout: float) -> list[tuple[int, int]]:
        if self._accept_again_at:
            timeout = min(timeout, self._accept_again_at - time.monotonic())
        events = self._epoll.poll(max(0.0, timeout))
        self._now = time.monotonic()
        self._answers.refresh()
        return events

    def _serve(self, fd: int, mask: int, share: int) -> tuple[Connection, list[Block]] | None:
        connection = self._connections.get(fd)
        if connection is None:
            self._others[fd]()
            return None
        if not mask & ~select.EPOLLOUT:
            return connection, []
        chunk = connection.receive(share) if connection.watching & select.EPOLLIN else b""
        if chunk is None:
            return None
        if not chunk:
            return self._end(connection)
        self.bytes_received += len(chunk)
        connection.active_at = self._now
        return connection, connection.framer.feed(chunk)

    def _end(self, connection: Connection) -> tuple[Connection, list[Block]] | None:
        """Note that the client writes no more: it may still read answers that are not sent yet."""
        if connection.watching & select.EPOLLIN and connection.unsent:
            connection.ended = True
            return connection, []
        self._drop(connection)
        return None

    def _reply(self, connection: Connection, data: bytes) -> None:
        if data and connection.told != self._answers.checkpoint:
            plain, data = data, self._answers.announce(data)
            connection.told = self._answers.checkpoint if data is not plain else connection.told
        if not connection.send(data):
            self._drop(connection)
        elif connection.unsent or connection.ended or connection.watching != select.EPOLLIN:
            self._watch(connection)

    def _watch(self, connection: Connection) -> None:
        """Wait for input unless too many answers are unread, and for room to send where answers are unsent."""
        unsent = len(connection.unsent)
        if connection.ended and not unsent:
            self._drop(connection)
            return
        may_read = not connection.ended and unsent <= self._settings.max_unread_bytes
        wanted = (select.EPOLLIN if may_read else 0) | (select.EPOLLOUT if unsent else 0)
        if wanted != connection.watching:
            connection.watching = wanted
            self._epoll.modify(connection.fileno(), wanted)

    def _accept(self) -> None:
        for _ in range(_ACCEPTS_PER_ROUND):
            try:
                sock = self._listener.accept()
            except BlockingIOError:
                return
            except PermissionError as error:
                self.connections_refused += 1
                self.refusal = str(error)
                continue
            except OSError as error:
                self._pause_accepting(error)
                return
            if len(self._connections) >= self._settings.max_connections:
                sock.close()
                self.connections_refused += 1
                self.refusal = f"more than VMAFX_SIDECAR_MAX_CONNECTIONS={self._settings.max_connections}"
                continue
            self._add(Connection(sock, self._settings.max_line_bytes))

    def _add(self, connection: Connection) -> None:
        connection.watching = select.EPOLLIN
        self._connections[connection.fileno()] = connection
        self._epoll.register(connection.fileno(), select.EPOLLIN)
        self.connections_total += 1

    def _pause_accepting(self, error: OSError) -> None:
        self.refusal = f"cannot accept: {errno.errorcode.get(error.errno or 0, '?')} {error.strerror}"
        self._accept_again_at = time.monotonic() + _ACCEPT_PAUSE_S
        self._epoll.modify(self._listener.fileno(), 0)

    def _drop(self, connection: Connection) -> None:
        self._epoll.unregister(connection.fileno())
        del self._connections[connection.fileno()]
        connection.close()

    def _sweep(self) -> None:
        now = self._now
        if self._accept_again_at and now >= self._accept_again_at:
            self._accept_again_at = 0.0
            self._epoll.modify(self._listener.fileno(), select.EPOLLIN)
        if now - self._swept_at < _SWEEP_INTERVAL_S:
            return
        self._swept_at = now
        idle = now - self._settings.idle_timeout_s
        for connection in [c for c in self._connections.values() if c.active_at < idle]:
            self._drop(connection)

    def drain(self, seconds: float) -> None:
        """Stop accepting, serve what has already been sent, and close, within `seconds`."""
        self._epoll.unregister(self._listener.fileno())
        self._listener.close()
        until = time.monotonic() + seconds
        while self._connections and time.monotonic() < until:
            if not self.round(0.02) and not any(c.unsent for c in self._connections.values()):
                break
        for connection in list(self._connections.values()):
            self._drop(connection)
        self._epoll.close()
