"""The socket outlives ingest: a node that dials is never refused while the sidecar runs."""

import signal
import socket
from pathlib import Path

import pytest

from pipeline.shm.segment import SHM_DIR
from tests.faults.kills import measure
from tests.support.client import Client, sample
from tests.support.sidecar import QUICK, Sidecar, running

pytestmark = pytest.mark.processes


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_node_notices_no_end_of_ingest(tmp_path: Path, number: int) -> None:
    """Lock-step as the Go client is: no dial is refused, no message lost, each answered and stored once."""
    outcome = measure(tmp_path, kills=3, every_s=2.0, rate=100.0, number=number)
    assert outcome.sound, outcome.table()
    assert outcome.tally.lost_connections >= 1


def test_a_dial_is_taken_while_ingest_hangs_and_is_restarted(tmp_path: Path) -> None:
    """The watchdog kills it; whoever dialled meanwhile is answered by the next one, on the same connection."""
    with running(tmp_path, **QUICK, VMAFX_SIDECAR_HANG_S="2") as sidecar:
        pid = sidecar.signal("ingest", signal.SIGSTOP)
        with sidecar.client() as waiting:
            waiting.write(sample("in the backlog"))
            sidecar.wait_for_another("ingest", pid)
            assert waiting.read()["job_id"] == "in the backlog"


def test_a_dial_is_taken_before_ingest_has_ever_run(tmp_path: Path) -> None:
    """From the moment that there is a socket, nobody has to dial twice."""
    with Sidecar(tmp_path, **QUICK) as sidecar:
        sidecar.launch()
        sidecar.wait_for(sidecar.socket.exists)
        with sidecar.client() as client:
            assert client.ask(sample("early"))["ok"]
        assert sidecar.stop() == 0
        assert not sidecar.socket.exists()


def test_a_socket_that_was_removed_comes_back(tmp_path: Path) -> None:
    """Ingest sees that nobody finds it any more, and is started again with a new socket, which outlives it too."""
    with running(tmp_path, **QUICK) as sidecar:
        for _ in range(2):
            pid = sidecar.pid("ingest")
            sidecar.socket.unlink()
            sidecar.wait_for_another("ingest", pid)
            assert f"{sidecar.socket}: removed or replaced" in sidecar.log()
            with sidecar.client() as client:
                assert client.ask(sample(f"after {pid}"))["ok"]
        pid = sidecar.kill("ingest")
        with sidecar.client() as client:
            assert client.ask(sample("held again"))["ok"]
        sidecar.wait_for_another("ingest", pid)


def test_a_socket_of_somebody_else_in_its_place_stays(tmp_path: Path) -> None:
    """The sidecar ends with the code for that, and does not take the place back."""
    with running(tmp_path, **QUICK) as sidecar, socket.socket(socket.AF_UNIX) as other:
        sidecar.socket.unlink()
        other.bind(str(sidecar.socket))
        other.listen()
        assert sidecar.process.wait(60) == 73
        assert sidecar.socket.exists()


@pytest.mark.parametrize("region", ["reports", "ring", "holdout", "weights", "trainer.bell"])
def test_a_region_that_was_removed_is_put_back(tmp_path: Path, region: str) -> None:
    """Its owner sees within a tick that others no longer find it, and is restarted; nothing that it held is lost."""
    with running(tmp_path, **QUICK) as sidecar:
        owner = "ingest" if region == "ring" else "trainer"
        with sidecar.client() as client:
            assert client.ask(sample("before"))["ok"]
            sidecar.wait_for(lambda: sidecar.reported().trainer.cursor == 1)
            pid = sidecar.pid(owner)
            name = f"vmafx-{sidecar.instance}-{region}"
            (SHM_DIR / name).unlink()
            assert client.ask(sample("meanwhile"))["ok"]
        sidecar.wait_for_another(owner, pid)
        assert f"{name}: removed or replaced" in sidecar.log() or f"{name}, " in sidecar.log()
        with Client(sidecar.socket) as client:
            assert client.ask(sample("after"))["ok"]
        sidecar.wait_for(lambda: sidecar.reported().trainer.cursor == sidecar.ring().head == 3)


def test_all_of_shared_memory_removed_is_survived(tmp_path: Path) -> None:
    """As logind does at the end of a session (RemoveIPC): every process starts over, and has all that it had."""
    with running(tmp_path, **QUICK) as sidecar:
        with sidecar.client() as client:
            assert client.ask(sample("before"))["ok"]
        before = {role: sidecar.pid(role) for role in sidecar.reported().roles}
        sidecar.lose_memory()
        for role, pid in before.items():
            sidecar.wait_for(lambda role=role, pid=pid: _is_another(sidecar, role, pid))  # type: ignore[misc]
        sidecar.wait_for(sidecar.is_well)
        with sidecar.client() as client:
            assert client.ask(sample("after"))["ok"]
        sidecar.wait_for(lambda: sidecar.reported().trainer.cursor == sidecar.ring().head == 2)
        assert sidecar.stop() == 0


def _is_another(sidecar: Sidecar, role: str, pid: int) -> bool:
    health = sidecar.health()
    return health is not None and health.roles[role].pid not in {0, pid}
