"""Which checkpoint each policy picks from a directory."""

from pathlib import Path

import pytest

from pipeline.checkpoints import pointers
from pipeline.node.policy import Policy
from tests.support.node_checkpoints import link_stable, publish


def picked(directory: Path, policy: str) -> list[int]:
    """Return the versions of the candidates, best first."""
    return [int(path.stem.removeprefix("model_v")) for path in Policy.parse(policy).candidates(directory)]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Versions 1 to 4, of which 2 and 4 are unstable, and files that are none."""
    for version in (1, 2, 3, 4):
        publish(tmp_path, version, b"", state="unstable" if version in {2, 4} else "stable")
    for other in ("model_v000009.onnx.sha256", ".model_v000009.onnx.tmp", "model_vX.onnx", "other.onnx"):
        (tmp_path / other).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("policy", "versions"),
    [
        ("latest", [4, 3, 2, 1]),
        ("latest-stable", [3, 1]),
        ("pinned:2", [2]),
        ("pinned:v000002", [2]),
        ("pinned:model_v000002", [2]),
        ("pinned:model_v000002.onnx", [2]),
        ("pinned:7", []),
    ],
)
def test_candidates(directory: Path, policy: str, versions: list[int]) -> None:
    """Best first; without a link, what is marked stable counts."""
    assert picked(directory, policy) == versions


def test_the_stable_link_goes_before_the_marks(directory: Path) -> None:
    """Where the sidecar names the stable one, nothing newer is taken, whatever it is marked as."""
    link_stable(directory, 2)
    assert picked(directory, "latest-stable") == [2, 1]


def test_the_sidecar_s_own_links_are_understood(directory: Path) -> None:
    """The link may lead through others, as those that the exporter makes do."""
    pointers.point(directory, pointers.LATEST_STABLE, 3)
    assert picked(directory, "latest-stable") == [3, 1]
    pointers.point(directory, pointers.LATEST_STABLE, 1)
    assert picked(directory, "latest-stable") == [1]


def test_a_link_in_circles_is_no_checkpoint(directory: Path) -> None:
    """A link to itself is ignored."""
    (directory / "latest-stable.onnx").symlink_to("latest-stable.onnx")
    assert picked(directory, "latest-stable") == [3, 1]


def test_a_link_elsewhere_is_no_checkpoint(directory: Path) -> None:
    """A link to something that is not a checkpoint is ignored."""
    (directory / "latest-stable.onnx").symlink_to("/etc/passwd")
    assert picked(directory, "latest-stable") == [3, 1]


def test_versions_are_numbers(tmp_path: Path) -> None:
    """Version 1,000,000 is newer than 999,999 although its name sorts before."""
    publish(tmp_path, 999_999, b"")
    publish(tmp_path, 1_000_000, b"")
    assert picked(tmp_path, "latest") == [1_000_000, 999_999]


def test_no_directory_yet(tmp_path: Path) -> None:
    """Of a directory that is not there nobody can tell: not the same as one that holds no candidate."""
    with pytest.raises(FileNotFoundError):
        picked(tmp_path / "absent", "latest")
    assert picked(tmp_path, "latest") == []


@pytest.mark.parametrize("mark", ["", "[]", "{}", '{"state": "unstable"}', "null"])
def test_what_is_not_marked_stable_is_not(tmp_path: Path, mark: str) -> None:
    """A mark that is absent, broken or another one keeps a checkpoint out of latest-stable."""
    publish(tmp_path, 1, b"").with_suffix(".json").write_text(mark)
    assert picked(tmp_path, "latest-stable") == []


def test_only_whole_names_of_regular_files_are_checkpoints(directory: Path) -> None:
    """A name without six digits, a directory and a link are left alone, as everywhere else."""
    (directory / "model_v8.onnx").touch()
    (directory / "model_v000011.onnx").mkdir()
    (directory / "model_v000012.onnx").symlink_to("model_v000001.onnx")
    assert picked(directory, "latest") == [4, 3, 2, 1]


def test_why_none_is_stable(tmp_path: Path) -> None:
    """What the gate says of the newest checkpoint, for a node that waits for a stable one; nothing for the others."""
    assert Policy.parse("latest-stable").withheld(tmp_path) is None
    newest = publish(tmp_path, 2, b"", state="unproven")
    publish(tmp_path, 1, b"", state="unstable")
    newest.with_suffix(".json").write_text('{"state": "unproven", "reason": "too few groups."}')
    assert Policy.parse("latest-stable").withheld(tmp_path) == (newest, "too few groups.")
    assert Policy.parse("latest").withheld(tmp_path) is None
    publish(tmp_path, 3, b"", state="stable")
    assert Policy.parse("latest-stable").withheld(tmp_path) is None


@pytest.mark.parametrize("policy", ["", "newest", "pinned", "pinned:", "pinned:abc", "latest:3", "latest-stable "])
def test_other_policies_are_refused(policy: str) -> None:
    """A policy that is not of the contract is an error that lists those that are."""
    with pytest.raises(ValueError, match="expected latest, latest-stable or pinned:VERSION"):
        Policy.parse(policy)


def test_stable_checkpoints_that_were_retired_are_not_taken(directory: Path) -> None:
    """Another base model has no stable one yet: the sidecar has taken the link away, and the marks are of the first."""
    pointers.point(directory, pointers.LATEST, 4)
    assert picked(directory, "latest-stable") == []


def test_stable_checkpoints_of_another_base_model_are_not_taken(directory: Path) -> None:
    """Older ones stand in for the one that the link names only where they are of its base model."""
    for version, base in ((1, "a"), (2, "b"), (3, "b"), (4, "a")):
        path = publish(directory, version, b"")
        path.with_suffix(".json").write_text(f'{{"state": "stable", "base_sha256": "{base}"}}')
    pointers.point(directory, pointers.LATEST_STABLE, 4)
    assert picked(directory, "latest-stable") == [4, 1]
