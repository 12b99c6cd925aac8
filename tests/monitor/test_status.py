"""What `/status`, `/healthz` and `/readyz` say in every situation, judged against the contract."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from io import StringIO

import msgspec
import pytest
from rich.console import Console

from pipeline.console import view
from pipeline.monitor import live, status
from pipeline.runtime.health import STALE_S, Health, examine
from pipeline.runtime.reports import UNTRAINED, Board, ExporterReport, IngestReport, TrainerReport, between_lives
from tests.monitor.conftest import Get
from tests.support.boards import publish, with_registry


def test_status_is_what_the_operator_parses(get: Get) -> None:
    """The contract's keys are there with the contract's types, and the answer fits the operator's buffer."""
    code, body = get("/status")
    document = json.loads(body)
    assert code == 200
    assert len(body) < 4096
    assert document["phase"] == "running"
    assert document["current_samples"] == 12345
    assert document["model_version"] == "model_v000042"
    assert document["verdict"] == {"state": "unstable", "reason": "held-out: RMSE 3, base model 2."}
    assert document["last_checkpoint_time"] == "2026-05-28T20:26:40Z"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", document["last_checkpoint_time"])


def test_before_the_first_checkpoint_there_is_no_time(get: Get, board: Board) -> None:
    """The time is absent, not null and not zero; the model is the base model."""
    publish(board, ExporterReport(role="exporter", phase="running"))
    document = json.loads(get("/status")[1])
    assert "last_checkpoint_time" not in document
    assert document["model_version"] == "base"
    assert "verdict" not in document


@pytest.mark.parametrize("letter", ["x", "\N{SNOWMAN}", "\N{GRINNING FACE}", "\x01", '"'])
@pytest.mark.parametrize("count", [0, 1, 4, 1000])
def test_problems_do_not_break_the_limit(board: Board, letter: str, count: int) -> None:
    """However many problems there are, however long and of whatever letters, the answer is JSON below the limit."""

    class ManyProblems(Health, frozen=True):
        @property
        def problems(self) -> list[str]:
            return [f"{number}: " + letter * 3000 for number in range(count)]

    now = examine(board)
    health = ManyProblems(now.roles, now.ingest, now.trainer, now.exporter, now.archive, now.monitor)
    body = status.Status().answer(health)
    told = json.loads(body)["problems"]
    assert len(body) < 4096
    assert bool(told) == (count > 0)
    assert told == [problem[:300] for problem in health.problems] or told[-1] == f"and {count - len(told) + 1} more"


def test_long_problems_of_real_reports(get: Get, board: Board) -> None:
    """Three processes with problems of 3,000 bytes each are all told of, in part."""
    for report in (IngestReport(role="ingest"), TrainerReport(role="trainer"), ExporterReport(role="exporter")):
        report.problem = "\N{SNOWMAN}" * 1000
        publish(board, report)
    body = get("/status")[1]
    assert len(body) < 4096
    assert len(json.loads(body)["problems"]) == 3


@pytest.mark.parametrize(("accepted", "said"), [(2**31 - 1, 2**31 - 1), (2**31, 2**31 - 1), (10**15, 2**31 - 1)])
def test_samples_stay_within_the_operators_integer(get: Get, board: Board, accepted: int, said: int) -> None:
    """The operator stores 32 bits: the count stops at the largest number rather than turn negative there."""
    publish(board, IngestReport(role="ingest", phase="accepting", accepted=accepted))
    assert json.loads(get("/status")[1])["current_samples"] == said


def test_checkpoint_time_only_advances(get: Get, board: Board) -> None:
    """A time once told stays while the exporter starts anew or finds an older one; later ones are told."""

    def said_after(checkpoint_at: float) -> str:
        publish(board, ExporterReport(role="exporter", phase="running", version=1, checkpoint_at=checkpoint_at))
        time_told: str = json.loads(get("/status")[1])["last_checkpoint_time"]
        return time_told

    first = said_after(1_780_000_000.0)
    assert said_after(0.0) == first
    assert said_after(1_779_999_000.0) == first
    assert said_after(1_780_000_060.0) > first


@pytest.mark.parametrize(
    ("report", "phase"),
    [
        (TrainerReport(role="trainer", phase="initializing", problem="waiting for the model"), "initializing"),
        (TrainerReport(role="trainer", phase="starting"), "initializing"),
        (TrainerReport(role="trainer", phase="crashed", pid=2**22), "initializing"),
        (TrainerReport(role="trainer", phase="failed"), "failed"),
        (TrainerReport(role="trainer", phase="crash backoff"), "failed"),
        (IngestReport(role="ingest", phase="accepting", pid=2**22, heartbeat=1.0), "failed"),
        (ExporterReport(role="exporter", phase="blocked", problem="upkeep: no room"), "failed"),
    ],
)
def test_phase(board: Board, report: TrainerReport, phase: str) -> None:
    """Each report alone decides: a start is `initializing`, what does not heal by itself is `failed`."""
    publish(board, report)
    assert examine(board).phase == phase


def test_nothing_has_started_yet(instance: str) -> None:
    """A board without reports is a sidecar that initializes; nobody is ready or alive."""
    from pipeline.runtime import regions
    from tests.support.boards import settings_of

    health = examine(regions.open_board(settings_of(instance)))
    assert health.phase == "initializing"
    assert not health.ready
    assert not health.healthy
    assert math.isinf(health.roles["trainer"].heartbeat_age)
    assert b'"phase":"initializing"' in status.Status().answer(health)


def test_probes_tell_which_process_is_silent(get: Get, board: Board) -> None:
    """A trainer without progress fails liveness, by name; readiness stays, because samples are still taken."""
    assert get("/healthz")[0] == get("/readyz")[0] == 200
    silent = TrainerReport(
        role="trainer", phase="running", base_model="m.onnx", heartbeat=time.monotonic() - STALE_S - 1
    )
    publish(board, silent)
    code, body = get("/healthz")
    assert code == 503
    assert b"trainer: no sign of progress" in body
    assert b"ingest: ok" in body
    assert get("/readyz")[0] == 200


def test_not_ready_without_a_base_model(get: Get, board: Board) -> None:
    """While the trainer waits for its model, the sidecar is alive and not ready, and says what it waits for."""
    publish(
        board, TrainerReport(role="trainer", phase="initializing", problem="VMAFX_BASE_MODEL_PATH=/m: no such file")
    )
    code, body = get("/healthz")
    assert code == 200
    assert b"trainer: ok (initializing); VMAFX_BASE_MODEL_PATH=/m: no such file" in body
    assert b'process_problem{process="trainer"} 1.0' in get("/metrics")[1]
    code, body = get("/readyz")
    assert code == 503
    assert b"VMAFX_BASE_MODEL_PATH=/m" in body


def problems(board: Board, **metrics: float) -> list[str]:
    """Return the problems while the trainer reports such figures."""
    publish(board, TrainerReport(role="trainer", phase="running", base_model="base.onnx", metrics=metrics))
    return examine(board).problems


def test_features_unlike_the_base_models_are_a_problem(get: Get, board: Board) -> None:
    """Features in another order, at which the base model is off by 137 points: said wherever one may look."""
    (problem,) = problems(board, prequential_base_rmse=137.0, prequential_rows=4096.0)
    assert problem.startswith("trainer: features do not look like those of the base model: on the newest 4,096 samples")
    code, body = get("/status")
    assert json.loads(body)["problems"] == [problem]
    assert json.loads(body)["phase"] == "running"
    for path in ("/healthz", "/readyz"):
        code, body = get(path)
        assert (code, b"features do not look like" in body) == (200, True)
    assert b'process_problem{process="trainer"} 1.0' in get("/metrics")[1]


@pytest.mark.parametrize(
    "metrics",
    [
        {},
        {"prequential_base_rmse": 137.0, "prequential_rows": 499.0},  # too few to tell
        {"prequential_base_rmse": 26.1, "prequential_rows": 4096.0},  # the worst clip towards another target
    ],
)
def test_a_base_model_of_another_target_is_no_problem(board: Board, metrics: dict[str, float]) -> None:
    """Nor is one of which little is known yet."""
    assert problems(board, **metrics) == []


def test_a_network_that_was_never_trained_knows_no_features(board: Board) -> None:
    """Without a base model, the beginning says nothing about the features."""
    figures = {"prequential_base_rmse": 137.0, "prequential_rows": 4096.0}
    publish(board, TrainerReport(role="trainer", phase="running", base_model=UNTRAINED, metrics=figures))
    assert examine(board).problems == []


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """Give a real process that only sleeps."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def test_a_suspended_trainer_is_a_pause(board: Board, child: subprocess.Popen[bytes]) -> None:
    """SIGSTOP makes the phase `paused` and SIGCONT ends that; a process that is gone is neither."""
    publish(board, TrainerReport(role="trainer", phase="running", base_model="m.onnx", pid=child.pid))
    os.kill(child.pid, signal.SIGSTOP)
    os.waitpid(child.pid, os.WUNTRACED)
    assert examine(board).phase == "paused"
    os.kill(child.pid, signal.SIGCONT)
    os.waitpid(child.pid, os.WCONTINUED)
    assert examine(board).phase == "running"
    child.kill()
    child.wait()
    assert not examine(board).roles["trainer"].alive


def test_the_registry_is_told_of(board: Board) -> None:
    """What was pushed is the model's version; what is there, what is wrong, since when, and a newer base model."""
    with_registry(board)
    told = msgspec.json.decode(status.Status().answer(examine(board)))
    assert told["model_version"] == f"sha256:{'a' * 64}"
    assert told["registry"] == {
        "pointed": f"sha256:{'c' * 64}",
        "newest_version": "model_v000040",
        "pushed_version": "model_v000041",
        "pushed_at": "2026-05-28T20:26:40Z",
        "failing": "down",
        "failing_since": "2026-05-28T20:28:20Z",
        "waiting_since": "2026-05-28T20:28:20Z",
        "newer_base_model": f"sha256:{'b' * 64}",
    }


def printed(health: Health) -> str:
    """Return what `vmafx-sidecar status` prints of the processes."""
    console = Console(file=StringIO(), width=300)
    console.print(view.processes(health))
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_the_command_tells_the_same_of_the_registry(board: Board) -> None:
    """The row of the publisher in `vmafx-sidecar status`: last push, newest there, and since when not."""
    with_registry(board)
    shown = printed(examine(board))
    for said in ("model_v000041 pushed at", "newest in the registry: model_v000040", "down since", "waits since"):
        assert said in shown


@pytest.mark.parametrize(
    ("senders", "said"), [(1, "99 samples of 1 sidecar,"), (1200, "99 samples of 1,200 sidecars,")]
)
def test_a_pool_has_sidecars_and_no_node(board: Board, senders: int, said: str) -> None:
    """The row of ingest counts who sends; that no node is connected is no news of a pool."""
    trained = TrainerReport(role="trainer", phase="running", cursor=99)
    publish(board, IngestReport(role="ingest", phase="accepting", stream="a stream", accepted=99, senders=senders))
    publish(board, trained)
    health = examine(board)
    assert said in printed(health)
    assert live.doing(health) == "All 99 samples are trained on; waiting for the next."


def test_a_registry_of_an_earlier_run_is_not(board: Board) -> None:
    """Without a publisher in this run, nothing is said of what one had reported."""
    with_registry(board)
    report = board.publisher()
    board.box("publisher").publish(msgspec.msgpack.encode(between_lives(report)))
    told = msgspec.json.decode(status.Status().answer(examine(board)))
    assert (told["model_version"], "registry" in told) == ("model_v000042", False)
