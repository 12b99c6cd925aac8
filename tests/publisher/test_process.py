"""The publisher as a process of a real sidecar, with a real registry that is away for a while."""

import json
import signal
import urllib.request
from pathlib import Path

import pytest

from pipeline.artifacts.artifact import MODEL_SHA256
from pipeline.artifacts.published import of_model
from pipeline.artifacts.reference import LATEST_STABLE, Reference
from pipeline.artifacts.store import open_store
from pipeline.artifacts.transfer import manifest_of, push
from pipeline.checkpoints.names import SUFFIXES, file_of
from pipeline.data import BASE_MODEL
from tests.support.registries import DockerRegistry, newest_in
from tests.support.sidecar import QUICK, Sidecar, running
from tests.support.stream import Stream
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.processes


def status_of(sidecar: Sidecar) -> dict[str, object]:
    """Return what the operator is told."""
    with urllib.request.urlopen(f"{sidecar.url()}/status", timeout=PATIENCE_S) as answer:  # noqa: S310  # of our own
        found: dict[str, object] = json.loads(answer.read())
    return found


def test_an_outage_disturbs_nothing_and_is_caught_up_with(tmp_path: Path) -> None:
    """Pushed, then the registry is killed: said where operators look, while all goes on; then it is there again."""
    server_directory = tmp_path / "server"
    server_directory.mkdir()
    with (
        DockerRegistry(server_directory) as server,
        running(tmp_path, **QUICK, VMAFX_REGISTRY_URL=server.url) as sidecar,
        Stream(sidecar) as stream,
    ):
        sidecar.wait_for(lambda: newest_in(server.url) > 0)
        sidecar.wait_for(lambda: str(status_of(sidecar)["model_version"]).startswith("sha256:"))
        server.kill()
        sidecar.wait_for(lambda: sidecar.reported().publisher.failing == "down")
        failing = status_of(sidecar)["registry"]
        assert isinstance(failing, dict)
        assert (failing["failing"], "failing_since" in failing) == ("down", True)
        before = sidecar.reported().exporter.version
        stream.wait_for_more(200)
        sidecar.wait_for(lambda: sidecar.reported().exporter.version > before + 1)
        assert sidecar.reported().phase == "running"
        pid = sidecar.signal("publisher", signal.SIGKILL)
        sidecar.wait_for(lambda: sidecar.pid("publisher") != pid)
        server.start()
        sidecar.wait_for(lambda: not sidecar.reported().publisher.failing)
        sidecar.wait_for(lambda: newest_in(server.url) >= sidecar.reported().exporter.stable_version > 0)
        assert sidecar.reported().publisher.failures["down"] > 0


def test_what_is_withdrawn_leaves_the_registrys_pointer(tmp_path: Path) -> None:
    """Rolled back, removed, and retired by another base model: the pointer goes back each time, and forward again."""
    share = tmp_path / "share"
    share.mkdir()
    url = share.as_uri()
    settings = QUICK | {"VMAFX_REGISTRY_URL": url, "VMAFX_BASE_MODEL_PATH": str(BASE_MODEL)}

    def agrees(sidecar: Sidecar) -> int:
        sidecar.wait_for(lambda: newest_in(url) == sidecar.reported().exporter.stable_version)
        return newest_in(url)

    with Sidecar(tmp_path, **settings) as sidecar:
        sidecar.start()
        with Stream(sidecar):
            sidecar.wait_for(lambda: len(_stable(sidecar)) >= 3 and newest_in(url) >= _stable(sidecar)[2])
            assert sidecar.command("freeze").returncode == 0
            sidecar.wait_for(lambda: newest_in(url) == _stable(sidecar)[-1])
            newest = agrees(sidecar)
            assert sidecar.command("rollback").returncode == 0
            sidecar.wait_for(lambda: sidecar.reported().exporter.stable_version < newest)
            before = agrees(sidecar)
            assert 0 < before < newest
            for suffix in SUFFIXES:
                file_of(sidecar.checkpoints, before, suffix).unlink()
            sidecar.wait_for(lambda: sidecar.reported().exporter.stable_version < before)
            assert 0 < agrees(sidecar) < before
        assert sidecar.stop() == 0
        other = tmp_path / "other.onnx"
        other.write_bytes(_with_other_weights())
        sidecar.environment["VMAFX_BASE_MODEL_PATH"] = str(other)
        sidecar.start()
        sidecar.wait_for(lambda: sidecar.reported().publisher.pointed and newest_in(url) == 0)
        assert sidecar.command("unfreeze").returncode == 0
        with Stream(sidecar, first=100_001):
            sidecar.wait_for(lambda: newest_in(url) > newest)
        assert sidecar.stop() == 0


def _stable(sidecar: Sidecar) -> list[int]:
    """Return the versions that are stable now."""
    found = [json.loads(path.read_text()) for path in sidecar.checkpoints.glob("model_v*.json")]
    return sorted(each["version"] for each in found if each["state"] == "stable")


def test_without_a_registry_there_is_no_publisher(tmp_path: Path) -> None:
    """Nor anything about one in status and metrics."""
    with running(tmp_path, **QUICK) as sidecar:
        assert "publisher" not in sidecar.reported().roles
        assert "registry" not in status_of(sidecar)
        with urllib.request.urlopen(f"{sidecar.url()}/metrics", timeout=PATIENCE_S) as answer:  # noqa: S310  # of our own
            assert b"\nvmafx_sidecar_registry" not in answer.read()


def test_a_base_model_from_a_registry(tmp_path: Path) -> None:
    """Waited for, fetched, used without the registry after a restart; a moved tag is said, and taken by a restart."""
    server_directory = tmp_path / "server"
    server_directory.mkdir()
    with DockerRegistry(server_directory) as server:
        url = f"{server.url}:v1"
        with Sidecar(tmp_path, **QUICK, VMAFX_BASE_MODEL_PATH=url) as sidecar:
            sidecar.launch()
            sidecar.wait_for(lambda: "no such tag" in sidecar.health_problem("trainer"))
            store = open_store(Reference.parse(server.url))
            first = push(store, of_model(BASE_MODEL))
            store.point("v1", first, None)
            sidecar.wait_for(sidecar.is_well)
            digest = sidecar.reported().trainer.base_digest
            assert sidecar.reported().trainer.base_model == "base_model.onnx"
            other = tmp_path / "other.onnx"
            other.write_bytes(_with_other_weights())
            second = push(store, of_model(other))
            store.point("v1", second, store.pointer("v1"))
            pid = sidecar.signal("publisher", signal.SIGKILL)  # so that it asks now
            sidecar.wait_for(lambda: sidecar.pid("publisher") != pid)
            sidecar.wait_for(lambda: sidecar.reported().publisher.newer_base == second)
            trainer = sidecar.kill("trainer")
            sidecar.wait_for_another("trainer", trainer)
            assert sidecar.reported().trainer.base_digest == digest
            assert sidecar.stop() == 0
            sidecar.start()
            assert sidecar.reported().trainer.base_model == "other.onnx"
            assert sidecar.stop() == 0
            server.kill()
            sidecar.start()
            assert sidecar.reported().trainer.base_model == "other.onnx"
            assert sidecar.stop() == 0


def test_a_second_sidecar_starts_from_the_firsts_model_if_its_own_gate_agrees(tmp_path: Path) -> None:
    """On the same content it does, and trains on from there; on other scores it refuses the model, and starts alone."""
    share = tmp_path / "share"
    share.mkdir()
    settings = QUICK | {"VMAFX_REGISTRY_URL": share.as_uri(), "VMAFX_BASE_MODEL_PATH": str(BASE_MODEL)}
    directories = [tmp_path / name for name in ("first", "same", "other")]
    for directory in directories:
        directory.mkdir()
    with running(directories[0], **settings) as first, Stream(first):
        first.wait_for(lambda: newest_in(share.as_uri()) > 0)
    store = open_store(Reference.parse(share.as_uri()))
    pointer = store.pointer(LATEST_STABLE)
    assert pointer is not None
    sha256 = manifest_of(store, pointer.digest).annotations[MODEL_SHA256]
    settings["VMAFX_SIDECAR_CKPT_INTERVAL_S"] = "5"  # the offer is to be there first
    with running(directories[1], **settings) as same:
        same.wait_for(lambda: same.reported().publisher.offered)
        with Stream(same):
            same.wait_for(lambda: '"offer_taken"' in same.log())
            same.wait_for(lambda: '"event": "reset"' in same.log())
        first_checkpoint = next(
            path
            for path in sorted(same.checkpoints.glob("model_v*.json"))
            if json.loads(path.read_text())["state"] == "stable"
        )
        described = json.loads(first_checkpoint.read_text())
        assert (described["sha256"], described["step"]) == (sha256, 0)
        assert described["origin"] == f"{share.as_uri()}@{pointer.digest}"
    with running(directories[2], **settings) as other:
        other.wait_for(lambda: other.reported().publisher.offered)
        with Stream(other, scores=lambda score: 100 - score):
            other.wait_for(lambda: '"offer_refused"' in other.log())
        published = [json.loads(path.read_text())["sha256"] for path in other.checkpoints.glob("model_v*.json")]
        assert sha256 not in published


def _with_other_weights() -> bytes:
    from pipeline.model.graph import load_base_model

    base = load_base_model(BASE_MODEL)
    return base.with_weights(base.vector() * 1.01)
