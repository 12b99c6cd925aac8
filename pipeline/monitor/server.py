"""A small HTTP server: GET only, one request a connection, bounded in connections, size and time.

Slow clients never block the next one: when all places are taken, the oldest connection is closed.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from pipeline.runtime import logs

MAX_CONNECTIONS = 32
DEADLINE_S = 10.0
"""Longest life of a connection, in seconds."""

_LONGEST_WAIT_S = 5.0
_ACCEPT_PAUSE_S = 0.5
_SHUT_DOWN = {errno.EINVAL, errno.EBADF}
_NOT_OURS = b"answered for an IP address, localhost, or a name in VMAFX_SIDECAR_HTTP_HOSTS\n"
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Response(NamedTuple):
    """An answer to a GET."""

    body: bytes
    content_type: str
    status: int = 200


Answer = Callable[[str], Response]
"""Takes a query string and returns the answer."""


class HttpServer(socketserver.ThreadingTCPServer):
    """Serves `routes`, path by path, each request in a thread of its own. Raises OSError where it cannot bind.

    A page on the Web may have its own name lead here (DNS rebinding), and a browser then lets it read the answers. So
    on loopback, and everywhere where `hosts` are given, only requests for an IP address, localhost or one of `hosts`
    are answered.
    """

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], routes: dict[str, Answer], hosts: Iterable[str] = ()) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.routes = routes
        self._places = threading.Lock()
        self._open: dict[socket.socket, float] = {}
        super().__init__(address, _Handler)
        self._names = answered_names(str(self.server_address[0]), hosts)

    def answers_to(self, host: str) -> bool:
        """Whether a request with this Host header is one for this server; without one, it is from no browser."""
        if self._names is None or not host:
            return True
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            return False
        return name in self._names or _is_address(name)

    @property
    def url(self) -> str:
        """Where the server listens."""
        host, port = self.server_address[:2]
        name = host if isinstance(host, str) else host.decode()
        return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"

    def start(self) -> None:
        """Serve from now on, in a thread. Not `serve_forever`, which looks up again and again."""
        threading.Thread(target=self._accept, name="http", daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                request, client_address = self.get_request()
            except OSError as error:
                if error.errno in _SHUT_DOWN:
                    return
                time.sleep(_ACCEPT_PAUSE_S)  # no descriptors are left
                continue
            try:
                self.process_request(request, client_address)
            except Exception:  # no thread is left: only this request fails
                self.shutdown_request(request)

    def stop(self) -> None:
        """Serve no longer."""
        self.socket.shutdown(socket.SHUT_RDWR)  # which ends the wait in `accept`
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give the connection a place; if there is none, close the oldest one."""
        with self._places:
            if len(self._open) >= MAX_CONNECTIONS:
                oldest = next(iter(self._open))
                del self._open[oldest]
                _hang_up(oldest)
            self._open[request] = time.monotonic()
        super().process_request(request, client_address)

    def close_overdue(self) -> None:
        """Close what is beyond its deadline; to be called once a second or so."""
        overdue = time.monotonic() - DEADLINE_S
        with self._places:
            for connection, since in self._open.items():
                if since < overdue:
                    _hang_up(connection)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection and free its place."""
        with self._places:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a connection that broke: the client knows."""


def answered_names(bound: str, hosts: Iterable[str]) -> frozenset[str] | None:
    """Return the names that requests to the address `bound` may be for, beside addresses; None for any name."""
    names = frozenset({"localhost", *hosts})
    is_open = len(names) == 1 and not ipaddress.ip_address(bound).is_loopback
    return None if is_open else names


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _hang_up(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    server: HttpServer
    timeout = _LONGEST_WAIT_S
    server_version = "vmafx-sidecar"
    sys_version = ""

    def do_GET(self) -> None:
        if not self.server.answers_to(self.headers.get("Host", "")):
            self._send(Response(_NOT_OURS, "text/plain; charset=utf-8", HTTPStatus.MISDIRECTED_REQUEST))
            return
        url = urlsplit(self.path)
        answer = self.server.routes.get(url.path)
        if answer is None:
            self._send(Response(b"not found\n", "text/plain; charset=utf-8", 404))
            return
        try:
            response = answer(url.query)
        except Exception:  # whatever it is, only this request fails
            logs.get("monitor").exception("request_failed", path=url.path)
            response = Response(b"this failed: see the log\n", "text/plain; charset=utf-8", 500)
        self._send(response)

    def refuse(self) -> None:
        self._send(Response(b"only GET is answered\n", "text/plain; charset=utf-8", 405))

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = refuse  # noqa: N815

    def _send(self, response: Response) -> None:
        self.send_response(response.status)
        self.send_header("Content-Type", response.content_type)
        self.send_header("Content-Length", str(len(response.body)))
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        if response.status == 405:
            self.send_header("Allow", "GET")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)

    def log_message(self, *_: object) -> None:
        """Log nothing: requests come every second."""
