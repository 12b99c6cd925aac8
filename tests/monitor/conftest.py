"""A board with telemetry on it, and an HTTP server over it."""

import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import pytest

from pipeline.monitor.record import Record
from pipeline.monitor.routes import Routes
from pipeline.monitor.server import HttpServer
from pipeline.monitor.usage import Usages
from pipeline.runtime.journal import Journals, open_journals
from pipeline.runtime.reports import Board
from tests.support.boards import at_work, settings_of
from tests.support.waiting import PATIENCE_S

Get = Callable[[str], tuple[int, bytes]]


@pytest.fixture
def board(instance: str) -> Board:
    """Return the board of a sidecar in full work."""
    return at_work(instance)


@pytest.fixture
def journals(instance: str) -> Journals:
    """Return the journals of the same sidecar."""
    return open_journals(settings_of(instance))


@pytest.fixture
def record() -> Record:
    """Return an empty record."""
    return Record()


@pytest.fixture
def server(board: Board, journals: Journals, record: Record) -> Iterator[HttpServer]:
    """Serve the board on a port of the system's choice."""
    started = HttpServer(("127.0.0.1", 0), Routes(board, journals, record, Usages()).table())
    started.start()
    yield started
    started.stop()


@pytest.fixture
def get(server: HttpServer) -> Get:
    """Return what gets a path from the server: status and body."""
    return lambda path: fetch(server.url + path)


def fetch(url: str) -> tuple[int, bytes]:
    """Get a URL; return status and body, whatever the status."""
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:  # noqa: S310  an address of our own
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


@pytest.fixture(scope="session")
def promtool() -> str:
    """Return Prometheus' own tool, or skip the test."""
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    return found
