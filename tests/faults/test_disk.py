"""A disk that is full, read-only or failing: answers and training go on, nothing half done is ever seen."""

import errno
import os
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline.checkpoints.names import file_of, published
from pipeline.fsck import files
from pipeline.registry.registry import digest_of
from tests.faults.namespace import SidecarOnSmallDisk, needs_namespace
from tests.support.checkpoints import publish_one, reconciled
from tests.support.sidecar import QUICK
from tests.support.stream import Stream

SMALL = QUICK | {"VMAFX_SIDECAR_REPLAY_CAPACITY": "500", "VMAFX_SIDECAR_RESERVOIR_CAPACITY": "200"}


def goes_on_without_disk(sidecar: SidecarOnSmallDisk, stream: Stream) -> None:
    """Check that samples are answered and trained on while the exporter says what is wrong."""
    failures = sum(sidecar.reported().exporter.failures.values())
    step = sidecar.reported().trainer.step
    sidecar.wait_for(lambda: sum(sidecar.reported().exporter.failures.values()) > failures)
    stream.wait_for_more(200)
    sidecar.wait_for(lambda: sidecar.reported().trainer.step > step)
    assert sidecar.reported().exporter.problem
    assert sidecar.reported().roles["exporter"].progressing


def recovers(sidecar: SidecarOnSmallDisk, stream: Stream, version: int) -> None:
    """Check that checkpoints come again, without a restart."""
    sidecar.wait_for(lambda: sidecar.reported().exporter.version > version)
    sidecar.wait_for(lambda: not sidecar.reported().exporter.problem)
    stream.wait_for_more(50)


@needs_namespace
@pytest.mark.processes
def test_full_then_read_only_then_well_again(tmp_path: Path) -> None:
    """No process is restarted, samples are answered, what was published stays as it was, descriptors are given back."""
    with SidecarOnSmallDisk(tmp_path, **SMALL) as sidecar, Stream(sidecar) as stream:
        sidecar.start()
        stream.wait_for_more(300)
        sidecar.wait_for(lambda: sidecar.reported().exporter.version > 0)
        pids = {role: state.pid for role, state in sidecar.reported().roles.items()}
        descriptors = sidecar.descriptors()
        for fault in ("full", "read-only"):
            version = sidecar.reported().exporter.version
            if fault == "full":
                filler = sidecar.fill()
            else:
                sidecar.make_read_only()
            goes_on_without_disk(sidecar, stream)
            before = {v: digest_of(file_of(sidecar.disk, v)) for v in published(sidecar.disk)}
            assert [each for each in files.check(sidecar.disk) if ".onnx" in each.what and not each.sound] == []
            if fault == "full":
                filler.unlink()
            else:
                sidecar.make_writable()
            recovers(sidecar, stream, version)
            after = {v: digest_of(file_of(sidecar.disk, v)) for v in published(sidecar.disk)}
            assert all(after[v] == before[v] for v in set(before) & set(after))
        assert {role: state.pid for role, state in sidecar.reported().roles.items()} == pids
        sidecar.wait_for(lambda: all(sidecar.descriptors()[role] <= descriptors[role] + 2 for role in descriptors))
        assert sidecar.unsound() == []


def test_an_error_at_any_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """EIO from each fsync of a publish in turn: every model that is visible is whole, no version is used twice."""
    fsync = os.fsync
    for failing in range(1, 100):
        directory = tmp_path / str(failing)
        directory.mkdir()
        publish_one(directory, seed=1)
        reconciled(directory, keep=5)
        digests = {version: digest_of(file_of(directory, version)) for version in published(directory)}
        calls = 0

        def sometimes(descriptor: int, failing: int = failing) -> None:
            nonlocal calls
            calls += 1
            if calls == failing:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            fsync(descriptor)

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", sometimes)
            with suppress(OSError):
                publish_one(directory, seed=2)
                reconciled(directory, keep=5)
        assert all(each.sound for each in files.check(directory) if each.what.startswith("model_"))
        publish_one(directory, seed=3)
        reconciled(directory, keep=5)
        assert all(digest_of(file_of(directory, version)) == digest for version, digest in digests.items())
        assert [each for each in files.check(directory) if not each.sound] == []
        if calls < failing:
            assert failing > 5, "a publish syncs more often than this"
            return
    pytest.fail("a publish never came to its end")
