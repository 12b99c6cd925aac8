"""One exporter a directory, one change at a time."""

import os
import shutil
from pathlib import Path

import pytest

from pipeline.runtime import locks
from pipeline.runtime.locks import Claim, DirectoryTaken, locked


def test_a_second_claim_is_refused_and_leaves_the_first_alone(tmp_path: Path) -> None:
    """It names the directory; when the first lets go, the second gets it."""
    first, second = Claim(tmp_path), Claim(tmp_path)
    assert first.hold()
    with pytest.raises(DirectoryTaken, match=str(tmp_path)):
        second.hold()
    assert not first.hold()
    first.release()
    assert second.hold()
    second.release()


def test_a_directory_that_was_removed_and_is_back_is_claimed_anew(tmp_path: Path) -> None:
    """The old lock is on a file that nobody can find any more."""
    directory = tmp_path / "online"
    directory.mkdir()
    claim = Claim(directory)
    assert claim.hold()
    shutil.rmtree(directory)
    with pytest.raises(FileNotFoundError):
        claim.hold()
    directory.mkdir()
    assert claim.hold()
    with pytest.raises(DirectoryTaken):
        Claim(directory).hold()
    claim.release()


def test_a_change_waits_for_the_one_before_and_not_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that hangs in the middle of a change does not hang the exporter too."""
    monkeypatch.setattr(locks, "_PATIENCE_S", 0.05)
    with locked(tmp_path), pytest.raises(TimeoutError, match="in use by another command"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_a_link_in_the_locks_place_is_not_followed(tmp_path: Path) -> None:
    """Whoever may write here cannot have a file elsewhere created or locked."""
    (tmp_path / ".exporter.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        Claim(tmp_path).hold()
    assert not (tmp_path / "elsewhere").exists()


def test_a_consumer_cannot_hold_the_locks(tmp_path: Path) -> None:
    """A reader's descriptor is enough for flock, so nobody else may get one; files that are there are put right."""
    for name in (".exporter.lock", ".change.lock"):
        (tmp_path / name).touch(mode=0o644)
        (tmp_path / name).chmod(0o644)
    claim = Claim(tmp_path)
    claim.hold()
    with locked(tmp_path):
        assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
            ".exporter.lock": 0o600,
            ".change.lock": 0o600,
        }
    claim.release()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_another_user_cannot_take_a_lock(tmp_path: Path) -> None:
    """Not even by opening the file to read."""
    claim = Claim(tmp_path)
    claim.hold()
    claim.release()
    child = os.fork()
    if child == 0:
        os.chdir(tmp_path)
        os.setgid(65534)
        os.setuid(65534)
        try:
            os.open(".exporter.lock", os.O_RDONLY)
        except PermissionError:
            os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
