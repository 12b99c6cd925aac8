"""What an operator sees and gets when real processes hang, die, or cannot start."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.console.run import configuration_file
from pipeline.monitor import history
from tests.monitor.conftest import fetch
from tests.support.processes import REPOSITORY, environment
from tests.support.sidecar import SIX, Sidecar, running
from tests.support.waiting import PATIENCE_S, eventually

pytestmark = pytest.mark.processes

PATHS = ["/status", "/healthz", "/readyz", "/metrics", "/live", "/history", "/events", "/checkpoints", "/"]


def phase_of(url: str) -> str:
    """Return the phase that `/status` gives."""
    found: str = json.loads(fetch(url + "/status")[1])["phase"]
    return found


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    """Run a sidecar that restarts what hangs for five seconds."""
    directory = tmp_path_factory.mktemp("monitor")
    with running(directory, **SIX, VMAFX_SIDECAR_HANG_S="5") as started:
        eventually(lambda: phase_of(started.url()) == "running")
        yield started


@pytest.mark.parametrize("role", ["exporter", "trainer"])
def test_a_suspended_process_holds_up_no_answer(sidecar: Sidecar, role: str) -> None:
    """While a process is stopped by SIGSTOP, every path answers, `/status` says paused; after SIGCONT all is well."""
    url, pid = sidecar.url(), sidecar.pid(role)
    os.kill(pid, signal.SIGSTOP)
    try:
        eventually(lambda: phase_of(url) == "paused")
        codes = {path: fetch(url + path)[0] for path in PATHS}
    finally:
        os.kill(pid, signal.SIGCONT)
    assert {path: code for path, code in codes.items() if code not in {200, 503}} == {}
    assert codes["/status"] == codes["/readyz"] == 200
    eventually(lambda: phase_of(url) == "running")


def test_a_hung_process_is_restarted_and_said_so(sidecar: Sidecar) -> None:
    """A trainer that makes no progress is killed and started again; restarts and log events tell of it."""
    url, before = sidecar.url(), sidecar.pid("trainer")
    others = sidecar.pid("ingest"), sidecar.pid("exporter")
    os.kill(before, signal.SIGSTOP)
    eventually(lambda: sidecar.pid("trainer") != before and phase_of(url) == "running")
    assert (sidecar.pid("ingest"), sidecar.pid("exporter")) == others
    assert b'vmafx_sidecar_process_restarts_total{process="trainer"} 1.0' in fetch(url + "/metrics")[1]
    events = {event["event"] for event in json.loads(fetch(url + "/events")[1])}
    assert {"process_hangs", "process_ended"} <= events
    assert fetch(url + "/healthz")[0] == 200


def test_the_monitor_comes_back_and_watches_on(sidecar: Sidecar) -> None:
    """A killed monitor is replaced without anyone else noticing, and the new one still restarts what hangs."""
    before, ingest, trainer = (sidecar.pid(role) for role in ("monitor", "ingest", "trainer"))
    restarts = sidecar.reported().monitor.restarts
    os.kill(before, signal.SIGKILL)
    eventually(lambda: sidecar.reported().monitor.pid != before)
    url = eventually(sidecar.url)  # empty until it listens
    eventually(lambda: phase_of(url) == "running")
    after = sidecar.reported().monitor.restarts
    assert after == restarts | {"monitor": restarts.get("monitor", 0) + 1}
    assert (sidecar.pid("ingest"), sidecar.pid("trainer")) == (ingest, trainer)
    os.kill(ingest, signal.SIGSTOP)
    eventually(lambda: sidecar.pid("ingest") != ingest and phase_of(url) == "running")


def test_a_taken_port_is_a_problem_and_no_more(tmp_path: Path) -> None:
    """While another program has the address, the sidecar works without HTTP and says so; then it takes the address."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with running(tmp_path, **SIX, VMAFX_SIDECAR_HTTP=f"127.0.0.1:{port}") as sidecar:
            problem = eventually(lambda: sidecar.reported().roles["monitor"].problem)
            assert f"VMAFX_SIDECAR_HTTP=127.0.0.1:{port}" in problem
            monitor = sidecar.pid("monitor")
            taken.close()
            assert sidecar.url().endswith(f":{port}")
            assert sidecar.pid("monitor") == monitor
            assert sidecar.reported().roles["monitor"].problem == ""


def test_a_history_that_cannot_be_kept_is_a_problem_and_no_more(tmp_path: Path) -> None:
    """Where the learning curve cannot be written, status and page say why until it can, and all else goes on."""
    in_the_way = tmp_path / "kept" / "state" / history.NAME
    in_the_way.mkdir(parents=True)
    with running(tmp_path, **SIX, VMAFX_SIDECAR_CHECKPOINT_DIR=str(tmp_path / "kept")) as sidecar:
        problem = eventually(lambda: sidecar.reported().roles["monitor"].problem)
        assert str(in_the_way) in problem
        url = sidecar.url()
        eventually(lambda: phase_of(url) == "running")
        in_the_way.rmdir()
        eventually(lambda: not sidecar.reported().roles["monitor"].problem)


def _unusable_model(directory: Path) -> dict[str, str]:
    (directory / "base.onnx").write_bytes(b"no model at all")
    return {"VMAFX_BASE_MODEL_PATH": str(directory / "base.onnx")}


def _socket_in_the_way(directory: Path) -> dict[str, str]:
    (directory / "s.sock").write_bytes(b"a regular file")
    return {}


@pytest.mark.parametrize(
    ("settings", "code", "said"),
    [
        (_unusable_model, 65, "base.onnx"),
        (_socket_in_the_way, 78, "VMAFX_SIDECAR_SOCKET"),
        (lambda _: {"VMAFX_SIDECAR_LR": "fast", "VMAFX_SIDECAR_HANG_S": "-1"}, 78, "VMAFX_SIDECAR_HANG_S"),
        (
            lambda _: {"VMAFX_SIDECAR_REPLAY_CAPACITY": "10000000", "VMAFX_SIDECAR_N_FEATURES": "4096"},
            71,
            "no room for",
        ),
    ],
    ids=["unusable base model", "socket in the way", "bad settings", "no shared memory"],
)
def test_what_no_restart_heals_ends_the_sidecar(
    tmp_path: Path, settings: Callable[[Path], dict[str, str]], code: int, said: str
) -> None:
    """The whole sidecar ends with the documented code, by itself, and its log names what was wrong."""
    with Sidecar(tmp_path, **settings(tmp_path)) as sidecar:
        assert sidecar.launch().wait(PATIENCE_S) == code
    log = sidecar.log()
    assert said in log
    assert {each["code"] for each in _logged(log, "ending")} <= {code}, log
    assert sum(said in line and '"level":"error"' in line.replace(" ", "") for line in log.splitlines()) <= 1
    assert [each["process"] for each in _logged(log, "process_ended")] == []


@pytest.mark.parametrize(("command", "code"), [("false", 70), ('sh -c "exit 73"', 73), ('sh -c "exit 71"', 71)])
def test_a_process_that_never_reports_ends_the_sidecar(tmp_path: Path, instance: str, command: str, code: int) -> None:
    """Its own code is the whole's, however young it dies; 70 where supervisord gives it up (FATAL)."""
    text = configuration_file().read_text()
    exporter = text[text.index("[program:exporter]") : text.index("[program:trainer]")]
    broken = re.sub("command = .*", f"command = {command}", exporter.replace("startretries = 10", "startretries = 1"))
    (tmp_path / "supervisord.conf").write_text(text.replace(exporter, broken))
    script = (
        "import sys; from pathlib import Path; from pipeline.console import run\n"
        "path = Path(sys.argv.pop()); run.configuration_file = lambda: path\n"
        "run.run()"
    )
    environ = environment(
        VMAFX_SIDECAR_INSTANCE=instance,
        VMAFX_SIDECAR_SOCKET=str(tmp_path / "s.sock"),
        VMAFX_SIDECAR_CHECKPOINT_DIR=str(tmp_path),
        VMAFX_SIDECAR_HTTP="",
    )
    run = [sys.executable, "-c", script, str(tmp_path / "supervisord.conf")]
    ended = subprocess.run(run, env=environ, capture_output=True, timeout=PATIENCE_S, check=False)
    assert ended.returncode == code, ended.stderr
    assert _logged(ended.stderr.decode(), "ending_sidecar") == [{"process": "exporter", "code": code}]


def _logged(log: str, event: str) -> list[dict[str, Any]]:
    """Return what each event of this name says beside role, level and time."""
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    return [
        {name: value for name, value in line.items() if name not in {"event", "role", "level", "timestamp"}}
        for line in lines
        if line["event"] == event
    ]


def test_prometheus_scrapes_it_and_evaluates_the_rules(sidecar: Sidecar, tmp_path: Path) -> None:
    """A real Prometheus reads the metrics and evaluates every rule without an error."""
    prometheus = shutil.which("prometheus")
    if prometheus is None:
        pytest.skip("prometheus is not installed (Debian: prometheus)")
    deploy = REPOSITORY / "deploy" / "prometheus"
    target = sidecar.url().removeprefix("http://")
    config = (deploy / "prometheus.yaml").read_text().replace("127.0.0.1:9091", target).replace("15s", "1s")
    (tmp_path / "prometheus.yaml").write_text(config)
    shutil.copy(deploy / "alerts.yaml", tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [prometheus, f"--config.file={tmp_path / 'prometheus.yaml'}", f"--storage.tsdb.path={tmp_path / 'data'}"]
    server = subprocess.Popen([*command, f"--web.listen-address={address}"], stderr=subprocess.DEVNULL)
    try:
        query = f"http://{address}/api/v1/query?query=vmafx_sidecar_process_up"
        eventually(lambda: fetch(f"http://{address}/-/ready")[0] == 200)
        found = eventually(lambda: json.loads(fetch(query)[1])["data"]["result"])
        assert {series["metric"]["process"] for series in found} == {"ingest", "trainer", "exporter", "monitor"}
        rules = eventually(lambda: _evaluated(f"http://{address}/api/v1/rules"))
        assert {rule["health"] for rule in rules} == {"ok"}
    finally:
        server.terminate()
        server.wait(timeout=PATIENCE_S)


def _evaluated(url: str) -> list[dict[str, Any]]:
    """Return the rules once all have been evaluated."""
    rules: list[dict[str, Any]] = json.loads(fetch(url)[1])["data"]["groups"][0]["rules"]
    return rules if all(rule["health"] != "unknown" for rule in rules) else []
