"""Who may import whom: the rooms of docs/decisions/0007-rooms.md."""

import ast
from pathlib import Path

import pytest

import pipeline
from tests.support.processes import REPOSITORY

ROOT = Path(pipeline.__file__).parent
PROCESSES = ("ingest", "trainer", "exporter", "archive", "publisher", "uplink", "intake", "monitor")
MEETING_PROCESSES = {"__main__", "loop", "resume", "snapshot_publisher", "stable_follower", "base", "fetched", "orders"}
"""The trainer's files that know of processes; the others are learning alone."""


def modules(path: Path) -> set[str]:
    """Return what a file imports, anywhere in it; what a type checker alone sees counts."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def imported(path: Path) -> set[str]:
    """Return the modules of ours that a file imports, without `pipeline.`."""
    return {name.removeprefix("pipeline.") for name in modules(path) if name.startswith("pipeline.")}


def strangers(room: str, *allowed: str) -> dict[str, set[str]]:
    """Return, by file of a room, what it imports of ours that does not begin with one of `allowed`."""
    found = {}
    for path in (ROOT / room).rglob("*.py"):
        names = {
            name for name in imported(path) if not f"{name}.".startswith((f"{room}.", *(f"{a}." for a in allowed)))
        }
        if names:
            found[path.name] = names
    return found


@pytest.mark.parametrize(
    ("room", "allowed"),
    [
        ("shm", ["runtime.locks"]),
        ("model", []),
        ("registry", ["model", "runtime.durable", "runtime.locks", "console.mistakes", "data"]),
        ("runtime", ["shm", "config"]),
        (
            "fleet",
            ["shm", "config", "artifacts", "console.mistakes", "runtime.durable", "runtime.extras", "runtime.locks"],
        ),
        (
            "artifacts",
            ["checkpoints", "runtime.durable", "runtime.locks", "runtime.extras", "registry.cli", "console.mistakes"],
        ),
        ("checkpoints", ["runtime.durable", "runtime.locks", "model", "registry", "config", "console.mistakes"]),
    ],
)
def test_a_room_imports_only_what_it_stands_on(room: str, allowed: list[str]) -> None:
    """What is below knows nothing of what is above."""
    assert strangers(room, *allowed) == {}


def test_logs_are_read_without_a_sidecar() -> None:
    """Only what sends, scores or is a command knows of more than of models."""
    files = strangers("libvmaf", "model")
    assert set(files) == {"cli.py", "score.py", "score_cli.py", "sender.py"}
    assert files["sender.py"] == {"node.feedback.FeedbackClient"}


@pytest.mark.parametrize("role", PROCESSES)
def test_processes_do_not_import_each_other(role: str) -> None:
    """They meet in shared memory and on disk only; the intake, which takes ingest's place, uses parts of it."""
    others = tuple(f"{other}." for other in PROCESSES if other != role)
    imports = {name for path in (ROOT / role).rglob("*.py") for name in imported(path)}
    shared = {"intake": ("ingest.dedup.", "ingest.names.", "ingest.names_region.", "ingest.forgotten.")}.get(role, ())
    assert not {name for name in imports if f"{name}.".startswith(others) and not name.startswith(shared)}
    assert (ROOT / role / "loop.py").is_file()


def test_a_node_stands_on_little() -> None:
    """What a node embeds knows of the sidecar what names of checkpoints and registries are; its commands use more."""
    files = strangers("node", "checkpoints.names", "model", "artifacts")
    assert set(files) == {"cli.py", "fake_node.py", "schedule.py"}


def test_learning_knows_nothing_of_processes() -> None:
    """What computes can be used without any process, report or region; it may ask whether torch is installed."""
    learning = [path for path in (ROOT / "trainer").glob("*.py") if path.stem not in MEETING_PROCESSES]
    assert len(learning) > 10
    imports = {name for path in learning for name in imported(path)}
    assert {name for name in imports if name.startswith("runtime")} == {"runtime.extras.lacking"}


@pytest.mark.parametrize(
    ("folder", "other"),
    [("tests", "benchmarks"), ("benchmarks", "tests"), ("pipeline", "benchmarks"), ("pipeline", "tests")],
)
def test_tests_and_benchmarks_stand_alone(folder: str, other: str) -> None:
    """Neither imports the other, and the product neither."""
    found = {path: {name.split(".")[0] for name in modules(path)} for path in (REPOSITORY / folder).rglob("*.py")}
    assert any("pipeline" in names for names in found.values()), "nothing was looked at"
    assert [path for path, names in found.items() if other in names] == []
