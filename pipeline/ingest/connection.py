"""One client's connection: reads are bounded, answers wait here until the client takes them."""

from __future__ import annotations

import socket
import time

from pipeline.ingest.framing import Framer


class Connection:
    """A non-blocking stream socket with its framing and its unsent answers."""

    __slots__ = ("_socket", "active_at", "ended", "framer", "told", "unsent", "watching")

    def __init__(self, sock: socket.socket, max_line_bytes: int) -> None:
        sock.setblocking(False)
        self._socket = sock
        self.framer = Framer(max_line_bytes)
        self.unsent = bytearray()
        self.active_at = time.monotonic()
        self.told = ""
        self.watching = 0
        self.ended = False

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._socket.fileno()

    def receive(self, size: int) -> bytes | None:
        """Return what has arrived, at most `size` bytes; b"" at the end of the stream, None for nothing yet."""
        try:
            return self._socket.recv(size)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def send(self, data: bytes) -> bool:
        """Send `data` behind what is still unsent, as far as the client takes it; return False if it has gone."""
        if self.unsent:
            self.unsent += data
            data = bytes(self.unsent)
            self.unsent.clear()
        try:
            sent = self._socket.send(data, socket.MSG_NOSIGNAL) if data else 0
        except BlockingIOError:
            sent = 0
        except OSError:
            return False
        if sent < len(data):
            self.unsent += data[sent:]
        return True

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
