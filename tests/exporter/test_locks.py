"""One exporter a directory, one change at a time."""

import shutil
from pathlib import Path

import pytest

from pipeline.exporter import locks
from pipeline.exporter.locks import Claim, DirectoryTaken, locked


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
