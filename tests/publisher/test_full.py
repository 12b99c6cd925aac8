"""A store that runs full in the middle of a push: a file system of its own without one free page."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.artifacts.faults import RegistryFault
from pipeline.artifacts.reference import Reference
from pipeline.artifacts.store import open_store
from pipeline.publisher.push import Pusher
from tests.faults.namespace import fill, needs_namespace, small_disk
from tests.support.checkpoints import publish_one, reconciled
from tests.support.registries import S3, DockerRegistry, newest_in, set_in
from tests.support.sidecar import QUICK, running
from tests.support.stream import Stream

PAGE = 4096
KINDS = {"file": {"full"}, "oci": {"full", "down"}, "s3": {"down"}}
"""What may be said. docker-registry answers some writes by a 500 without a reason, and moto all."""

pytestmark = needs_namespace


@contextmanager
def kept_on(disk: Path, kind: str, directory: Path) -> Iterator[str]:
    """Run a registry that keeps its content on a disk; give its URL."""
    directory.mkdir()
    if kind == "file":
        yield disk.as_uri()
        return
    server = DockerRegistry(directory) if kind == "oci" else S3(directory)
    server.data = disk
    with server, set_in(server.environment):
        yield server.url


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_it_runs_full_at_any_moment(tmp_path: Path, kind: str) -> None:
    """With room for more and more of a push: the pointer leads to a whole version, and the rest follows."""
    checkpoints, mount = tmp_path / "online", tmp_path / "disk"
    checkpoints.mkdir()
    mount.mkdir()
    said = set()
    with small_disk(mount, "2m") as disk, kept_on(disk, kind, tmp_path / "server") as url:
        pusher = Pusher(open_store(Reference.parse(url)), checkpoints)
        for version in range(1, 13):
            publish_one(checkpoints, seed=version)
            reconciled(checkpoints)
            filler = fill(disk, leave=(12 - version) * PAGE)
            try:
                pusher.run("")
            except RegistryFault as fault:
                said.add(fault.kind)
                assert newest_in(url) == version - 1
            filler.unlink()
            pusher.run("")
            assert newest_in(url) == version
    assert said
    assert said <= KINDS[kind]


@pytest.mark.long
@pytest.mark.processes
@pytest.mark.parametrize("kind", ["file", "oci"])
def test_a_sidecar_says_that_it_is_full_and_catches_up(tmp_path: Path, kind: str) -> None:
    """Versions go on being published; once there is room again, the newest is in the registry."""
    mount = tmp_path / "disk"
    mount.mkdir()
    with (
        small_disk(mount, "16m") as disk,
        kept_on(disk, kind, tmp_path / "server") as url,
        running(tmp_path, **QUICK, VMAFX_REGISTRY_URL=url) as sidecar,
        Stream(sidecar),
    ):
        sidecar.wait_for(lambda: newest_in(url) > 0)
        filler = fill(disk)
        before = newest_in(url)
        sidecar.wait_for(lambda: sidecar.reported().publisher.failing == "full")
        sidecar.wait_for(lambda: sidecar.reported().exporter.stable_version > before)
        assert newest_in(url) == before
        filler.unlink()
        sidecar.wait_for(lambda: not sidecar.reported().publisher.failing)
        sidecar.wait_for(lambda: newest_in(url) >= sidecar.reported().exporter.stable_version)
