"""What is wrong with a registry is said by kind, without credentials: real servers with real faults."""

import errno
import os
from pathlib import Path

import pytest

from pipeline.artifacts import oci, share
from pipeline.artifacts.artifact import Artifact
from pipeline.artifacts.faults import RegistryFault
from pipeline.artifacts.reference import Reference
from pipeline.artifacts.store import open_store
from pipeline.artifacts.transfer import push
from tests.support.registries import PASSWORD, S3, DockerRegistry, Server, docker_config, free_port, set_in

MODEL = Artifact({"model.onnx": b"x" * 100_000}, {})


def fault_of(url: str) -> RegistryFault:
    """Return what is wrong when something is pushed."""
    with pytest.raises(RegistryFault) as raised:
        push(open_store(Reference.parse(url)), MODEL, "v1")
    assert PASSWORD not in str(raised.value)
    return raised.value


def test_nobody_there_is_down(tmp_path: Path) -> None:
    """A port without a server; a share that is not mounted; a bucket that was never made."""
    assert fault_of(f"oci://127.0.0.1:{free_port()}/models").kind == "down"
    assert fault_of((tmp_path / "share").as_uri()).kind == "down"
    assert not (tmp_path / "share").exists()
    with S3(tmp_path) as bucket, set_in(bucket.environment):
        assert fault_of("s3://another-bucket/models").kind == "down"
    with set_in(bucket.environment):
        assert fault_of(bucket.url).kind == "down"


@pytest.mark.parametrize("kind", [DockerRegistry, S3])
def test_no_answer_is_slow(tmp_path: Path, kind: type[Server], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a server that takes connections and says nothing; it does not take for ever."""
    monkeypatch.setattr(oci, "_READ_S", 1.0)
    from pipeline.artifacts import bucket

    monkeypatch.setattr(bucket, "_TIMEOUT_S", 1)
    with kind(tmp_path) as server, set_in(server.environment):
        server.suspend()
        assert fault_of(server.url).kind == "slow"
        server.resume()


def test_credentials_are_taken_from_docker_and_a_wrong_password_is_refused(tmp_path: Path) -> None:
    """Nothing of them is said."""
    with DockerRegistry(tmp_path, locked=True) as server:
        with set_in({"HOME": str(tmp_path / "nowhere")}):
            assert fault_of(server.url).kind == "refused"
        with set_in(docker_config(tmp_path, server.port, "wrong")):
            assert fault_of(server.url).kind == "refused"
        with set_in(docker_config(tmp_path, server.port)):
            assert push(open_store(Reference.parse(server.url)), MODEL, "v1") == MODEL.digest


def test_a_registry_that_takes_no_writes_is_read_only(tmp_path: Path) -> None:
    """As docker-registry in maintenance."""
    with DockerRegistry(tmp_path, read_only=True) as server:
        assert fault_of(server.url).kind == "read-only"


def test_a_share_says_what_its_disk_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Full, read-only or refused: as the operating system calls it."""
    for number, kind in ((errno.ENOSPC, "full"), (errno.EROFS, "read-only"), (errno.EACCES, "refused")):

        def refuse(*_: object, number: int = number, **__: object) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(share, "write_durably", refuse)
        assert fault_of(tmp_path.as_uri()).kind == kind
