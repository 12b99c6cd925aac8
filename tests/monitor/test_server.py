"""The HTTP server holds out against everything that is not a plain GET."""

import http.client
import socket
import threading
from urllib.parse import urlsplit

import pytest

from pipeline.monitor import server as server_module
from pipeline.monitor.server import MAX_CONNECTIONS, HttpServer, Response
from tests.monitor.conftest import Get, fetch
from tests.support.waiting import PATIENCE_S


def _address(server: HttpServer) -> tuple[str, int]:
    url = urlsplit(server.url)
    assert url.hostname is not None
    assert url.port is not None
    return url.hostname, url.port


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_only_get_is_answered(server: HttpServer, method: str) -> None:
    """Every other method is refused with 405 and told what is allowed."""
    connection = http.client.HTTPConnection(*_address(server), timeout=PATIENCE_S)
    connection.request(method, "/status")
    answer = connection.getresponse()
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET"
    connection.close()


@pytest.mark.parametrize(
    "path", ["/nothing", "/../health.py", "/page.css/../../status.py", "/%2e%2e/status.py", "//etc/passwd", "/status/"]
)
def test_unknown_paths_are_not_found(get: Get, path: str) -> None:
    """Only the paths that are listed exist; no path leads to a file."""
    assert get(path)[0] == 404


def test_answers_cannot_be_framed_cached_or_scripted(server: HttpServer) -> None:
    """Every answer forbids foreign scripts, frames, caching and content sniffing."""
    connection = http.client.HTTPConnection(*_address(server), timeout=PATIENCE_S)
    connection.request("GET", "/")
    headers = connection.getresponse().headers
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    connection.close()


HOSTS = [
    ("127.0.0.1:9091", 200, 200),
    ("[::1]:9091", 200, 200),
    ("10.1.2.3:9091", 200, 200),
    ("LocalHost.:9091", 200, 200),
    ("", 200, 200),
    ("sidecar:9091", 421, 200),
    ("Sidecar.encoders.svc", 421, 200),
    ("evil.example:9091", 421, 421),
    ("127.0.0.1.evil.example", 421, 421),
    ("[::1", 421, 421),
]


@pytest.mark.parametrize(("host", "by_default", "with_names"), HOSTS)
def test_a_page_with_a_name_of_its_own_reads_nothing(host: str, by_default: int, with_names: int) -> None:
    """On loopback only addresses, localhost and the names that are set are answered: DNS rebinding brings others."""
    assert _status_for(host, ()) == by_default
    assert _status_for(host, ("sidecar", "sidecar.encoders.svc")) == with_names


@pytest.mark.parametrize("bound", ["0.0.0.0", "::", "10.1.2.3"])  # noqa: S104  nothing is bound
def test_beyond_loopback_any_name_is_answered_until_some_are_set(bound: str) -> None:
    """Nobody here knows by which name a Service is asked for."""
    assert server_module.answered_names(bound, ()) is None
    assert server_module.answered_names(bound, ("sidecar",)) == frozenset({"localhost", "sidecar"})


def _status_for(host: str, hosts: tuple[str, ...]) -> int:
    """Return the status of the answer to a request for `host`, of a server that knows `hosts`."""
    server = HttpServer(("127.0.0.1", 0), {"/": lambda _: Response(b"counters", "text/plain")}, hosts)
    server.start()
    try:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=PATIENCE_S)
        connection.request("GET", "/", headers={"Host": host})
        answer = connection.getresponse()
        assert (b"counters" in answer.read()) == (answer.status == 200)
        connection.close()
        return answer.status
    finally:
        server.stop()


def test_idle_connections_keep_nobody_out(server: HttpServer, get: Get) -> None:
    """With three times as many silent connections as there are places, the next request is answered at once."""
    idle = [socket.create_connection(_address(server)) for _ in range(3 * MAX_CONNECTIONS)]
    for connection in idle[::2]:
        connection.sendall(b"GET /status HTTP/1.1\r\nX-Slow: ")
    assert get("/status")[0] == 200
    assert len(server._open) <= MAX_CONNECTIONS
    for connection in idle:
        connection.close()


def test_a_dawdling_request_meets_its_deadline(server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that sends a byte now and then is cut off when its time is up, however alive it looks."""
    monkeypatch.setattr(server_module, "DEADLINE_S", 0.3)
    with socket.create_connection(_address(server), timeout=10) as slow:
        slow.sendall(b"GET /status HTTP/1.1\r\n")
        stop = threading.Event()

        def drip() -> None:
            while not stop.wait(0.05):
                server.close_overdue()
                try:
                    slow.sendall(b"x")
                except OSError:
                    return

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            received = slow.recv(100)
        except ConnectionError:
            received = b""
        finally:
            stop.set()
            dripping.join()
    assert received == b""


@pytest.mark.parametrize(
    "request_line",
    [
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\n\r\n",
        b"\0" * 100,
    ],
)
def test_garbage_costs_only_itself(server: HttpServer, get: Get, request_line: bytes) -> None:
    """Whatever a client sends in place of a request, the next client is served."""
    with socket.create_connection(_address(server), timeout=PATIENCE_S) as connection:
        connection.sendall(request_line)
    assert get("/status")[0] == 200


def test_a_failing_answer_costs_only_itself() -> None:
    """An answer that raises is a 500 without a traceback; the server goes on."""

    def fail(_query: str) -> Response:
        raise RuntimeError("secret detail")

    server = HttpServer(("127.0.0.1", 0), {"/bad": fail, "/good": lambda _: Response(b"fine", "text/plain")})
    server.start()
    try:
        code, body = fetch(f"{server.url}/bad")
        assert code == 500
        assert b"secret" not in body
        assert fetch(f"{server.url}/good") == (200, b"fine")
    finally:
        server.stop()


def test_ipv6_addresses_are_served() -> None:
    """The address family follows the address."""
    try:
        server = HttpServer(("::1", 0), {"/": lambda _: Response(b"fine", "text/plain")})
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    server.start()
    try:
        assert fetch(f"{server.url}/") == (200, b"fine")
    finally:
        server.stop()
