"""The fake node as a library, and `feed` as a process, against a sidecar that answers as the contract says."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import structlog
from click.testing import CliRunner

from pipeline.artifacts.artifact import Artifact
from pipeline.artifacts.reference import LATEST_STABLE, Reference
from pipeline.artifacts.store import open_store
from pipeline.artifacts.transfer import push
from pipeline.corpus.read import load_corpus
from pipeline.data import BASE_MODEL, CORPUS
from pipeline.model.runtime import OnnxModel
from pipeline.node.cli import feed
from pipeline.node.fake_node import FakeNode, NodeOptions
from tests.node.scripted_sidecar import Message, ScriptedSidecar, ok, refusal
from tests.support.node_checkpoints import constant_model, publish
from tests.support.waiting import eventually

STREAM = load_corpus(CORPUS).only("stream")


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """Undo what a command configures for its process."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def options(tmp_path: Path) -> NodeOptions:
    """Describe a node whose sidecar is under ``tmp_path``."""
    return NodeOptions(socket=tmp_path / "s.sock", checkpoint_dir=tmp_path, base_model=BASE_MODEL)


def test_the_stream_is_the_corpus(options: NodeOptions) -> None:
    """Each message holds a frame's features, score and source, and what the node's model gives for it."""
    with ScriptedSidecar(options.socket) as sidecar, FakeNode(STREAM, "vmaf_phone", options) as node:
        node.stream(threading.Event(), rate=1e6, samples=100)
        node.drain(threading.Event())
        assert node.counts().delivered == 100
        received = sidecar.received
    np.testing.assert_array_equal([m["features"] for m in received], STREAM.features[:100])
    np.testing.assert_array_equal([m["true_score"] for m in received], STREAM.target("vmaf_phone")[:100])
    np.testing.assert_allclose(
        [m["predicted_score"] for m in received], OnnxModel(BASE_MODEL).predict(STREAM.features[:100]), rtol=1e-5
    )
    encodes = zip(STREAM.source[:100], STREAM.clip[:100], strict=True)
    assert [m["source_id"] for m in received] == [f"{source}/{clip}" for source, clip in encodes]
    assert len({m["job_id"] for m in received}) == 100


def test_a_stream_that_is_faster_than_the_sidecar_loses_nothing(options: NodeOptions) -> None:
    """More frames than a queue holds, as fast as can be: the stream waits for the sidecar."""
    with ScriptedSidecar(options.socket), FakeNode(STREAM, "vmaf", options) as node:
        node.stream(threading.Event(), rate=1e9, samples=3000)
        node.drain(threading.Event())
        assert (node.counts().delivered, node.counts().dropped) == (3000, 0)


def test_a_stream_that_waits_can_be_stopped(options: NodeOptions) -> None:
    """No sidecar at all: the queue is full, and the stream ends when it is told to."""
    stop = threading.Event()
    with FakeNode(STREAM, "vmaf", options) as node:
        streaming = threading.Thread(target=node.stream, args=[stop], kwargs={"rate": 1e9})
        streaming.start()
        assert eventually(lambda: node.counts().pending == 1000)
        stop.set()
        streaming.join(timeout=10)
        assert not streaming.is_alive()
        assert node.counts().sent == 1000
        node.close(drain_timeout=0.0)


def test_connections_run_side_by_side(options: NodeOptions) -> None:
    """Three encodes at once use three connections, and the counts are of all."""
    three = NodeOptions(options.socket, options.checkpoint_dir, options.base_model, connections=3)
    with ScriptedSidecar(options.socket) as sidecar, FakeNode(STREAM, "vmaf", three) as node:
        node.stream(threading.Event(), rate=1e6, samples=90)
        node.drain(threading.Event())
        assert sidecar.connections == 3
        assert (node.counts().sent, node.counts().delivered) == (90, 90)


def test_a_checkpoint_is_taken_and_logged_with_both_errors(options: NodeOptions) -> None:
    """An announced checkpoint scores the next frames, and the log tells the error before and after."""
    announced = threading.Event()

    def announce_once(message: Message) -> bytes:
        if announced.is_set():
            return ok(message)
        announced.set()
        return ok(message, checkpoint=str(publish(Path(options.checkpoint_dir), 1, constant_model(7.0, n_features=6))))

    with (
        structlog.testing.capture_logs() as logs,
        ScriptedSidecar(options.socket, announce_once) as sidecar,
        FakeNode(STREAM, "vmaf_phone", options) as node,
    ):
        node.stream(threading.Event(), rate=1e6, samples=50)
        assert eventually(lambda: node.counts().swaps == 1)
        node.stream(threading.Event(), rate=1e6, samples=1)
        node.drain(threading.Event())
        assert sidecar.received[-1]["predicted_score"] == 7.0
    (swap,) = [event for event in logs if event["event"] == "model_swapped"]
    assert (swap["before"], swap["after"]) == (str(BASE_MODEL), "model_v000001.onnx")
    assert 0 < swap["rmse_before"] < swap["rmse_after"]


@pytest.mark.processes
def test_a_registry_in_place_of_the_directory(tmp_path: Path) -> None:
    """The model that latest-stable leads to there is used, and scores what is sent."""
    share = tmp_path / "share"
    share.mkdir()
    store = open_store(Reference.parse(share.as_uri()))
    onnx = constant_model(7.0, n_features=6)
    store.point(LATEST_STABLE, push(store, Artifact({"model_v000001.onnx": onnx}, {})), None)
    with ScriptedSidecar(tmp_path / "s.sock") as sidecar:
        process = feed_process(tmp_path / "s.sock", "--checkpoint-dir", share.as_uri(), "--rate", "50", "--loop")
        assert eventually(lambda: sidecar.received and sidecar.received[-1]["predicted_score"] == 7.0)
        process.terminate()
        out, err = process.communicate(timeout=60)
    assert "1 model swaps" in out, err


def feed_process(socket: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start `feed` on its own."""
    command = [sys.executable, "-c", "from pipeline.node.cli import feed; feed()", "--socket", str(socket)]
    return subprocess.Popen(
        [*command, "--checkpoint-dir", str(socket.parent), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_feed_with_a_summary(tmp_path: Path, number: signal.Signals) -> None:
    """Stopped in mid-stream, `feed` delivers what it has sent, says what became of it and exits with 0."""
    with ScriptedSidecar(tmp_path / "s.sock") as sidecar:
        process = feed_process(tmp_path / "s.sock", "--rate", "50", "--loop")
        assert eventually(lambda: len(sidecar.received) > 5)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        n = len(sidecar.received)
        assert out == f"sent {n}, accepted {n}, refused 0, dropped 0; 0 model swaps\n"
        assert [json.loads(line)["event"] for line in err.splitlines()] == ["feedback_connected"]


@pytest.mark.processes
def test_a_refused_frame_makes_the_feed_fail(tmp_path: Path) -> None:
    """When a sample is refused, the exit code says so to a script, and the log says why."""
    with ScriptedSidecar(tmp_path / "s.sock", refusal):
        process = feed_process(tmp_path / "s.sock", "--samples", "3")
        out, err = process.communicate(timeout=60)
        assert process.returncode == 1
        assert out.startswith("sent 3, accepted 0, refused 3,")
        assert "sample_rejected" in err


@pytest.mark.processes
def test_the_feed_outlives_the_sidecar(tmp_path: Path) -> None:
    """Started before the sidecar, and through its restart, `feed` gets every frame accepted."""
    path = tmp_path / "s.sock"
    process = feed_process(path, "--rate", "100", "--samples", "200")
    with ScriptedSidecar(path) as first:
        assert eventually(lambda: len(first.received) > 20)
    path.unlink()
    with ScriptedSidecar(path) as second:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert out.startswith("sent 200, accepted 200, refused 0, dropped 0;")
        assert len(set(first.jobs()) | set(second.jobs())) == 200


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--target", "mos"], "no target 'mos' in this corpus; it has"),
        (["--checkpoint-dir", "http://r.example/m"], "HOST"),
        (["--policy", "newest"], "expected latest, latest-stable or pinned:VERSION"),
        (["--rate", "0"], "0.0 is not in the range x>0"),
        (["--corpus", "pyproject.toml"], "a corpus is a .npz, .parquet or .csv file"),
        (["--base-model", "pyproject.toml"], "pyproject.toml: ONNX Runtime refuses it"),
    ],
)
def test_a_mistake_is_one_clear_line(arguments: list[str], expected: str) -> None:
    """What a user gets wrong is named, with what was expected, and without a traceback."""
    result = CliRunner().invoke(feed, arguments)
    assert result.exit_code != 0
    assert expected in result.output
    assert "Traceback" not in result.output


def test_a_bad_environment_is_one_clear_line() -> None:
    """A setting that cannot be used is named with its variable."""
    result = CliRunner().invoke(feed, env={"VMAFX_SIDECAR_SOCKET": "relative"})
    assert result.exit_code == 1
    assert "VMAFX_SIDECAR_SOCKET='relative'" in result.output


def test_a_model_of_another_width_is_refused(tmp_path: Path) -> None:
    """A base model that does not take the corpus's features is a clear error."""
    (tmp_path / "wide.onnx").write_bytes(constant_model(1.0, n_features=80))
    result = CliRunner().invoke(feed, ["--base-model", str(tmp_path / "wide.onnx")])
    assert "rows of 6 features; wide.onnx takes 80" in result.output
