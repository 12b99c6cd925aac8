"""`CheckpointWatcher` on real directories with real ONNX models, good ones and bad ones."""

import gc
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import structlog

from pipeline.model.errors import UnusableModel
from pipeline.node.model import NodeModel
from pipeline.node.watcher import CheckpointWatcher
from tests.support.node_checkpoints import N_FEATURES, constant_model, link_stable, publish, time_bomb
from tests.support.waiting import eventually

ROW = np.full((1, N_FEATURES), 0.5, np.float32)
BASE_SCORE = 50.0


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Make an empty checkpoint directory."""
    path = tmp_path / "online"
    path.mkdir()
    return path


@contextmanager
def watching(directory: Path, base: bytes | None = None, **options: object) -> Iterator[CheckpointWatcher]:
    """Watch a directory, with a poll that only a hint can bring forward."""
    path = directory.parent / "base.onnx"
    path.write_bytes(base or constant_model(BASE_SCORE))
    watcher = CheckpointWatcher(directory, path, **{"poll_s": 3600.0, **options})  # type: ignore[arg-type]
    try:
        yield watcher
    finally:
        watcher.close()


def score(watcher: CheckpointWatcher) -> float:
    """Return what the model in use gives."""
    return float(watcher.predict(ROW)[0])


def keeps(condition: Callable[[], bool], for_s: float = 0.2) -> bool:
    """Whether a condition holds all the time."""
    until = time.monotonic() + for_s
    while time.monotonic() < until:
        if not condition():
            return False
        time.sleep(0.005)
    return True


def test_the_base_model_serves_until_there_is_a_checkpoint(directory: Path) -> None:
    """With an empty directory, or none, the node predicts with its base model."""
    with watching(directory / "absent") as watcher:
        assert score(watcher) == BASE_SCORE


def test_what_is_there_at_the_start_is_taken(directory: Path) -> None:
    """A node that starts beside old checkpoints takes one without being told."""
    publish(directory, 1, constant_model(61.0))
    with watching(directory) as watcher:
        assert eventually(lambda: score(watcher) == 61.0)


def test_a_hint_is_followed_at_once(directory: Path) -> None:
    """A checkpoint that an answer announces is in use long before the next poll."""
    with watching(directory) as watcher:
        path = publish(directory, 1, constant_model(61.0))
        watcher.hint(str(path))
        assert eventually(lambda: score(watcher) == 61.0)


def test_why_nothing_is_taken_is_said_once(directory: Path) -> None:
    """A node that waits for a stable checkpoint logs what the gate says of the newest one, not at every poll."""
    path = publish(directory, 1, constant_model(61.0), state="unproven")
    path.with_suffix(".json").write_text('{"state": "unproven", "reason": "held-out: 1 group."}')
    with structlog.testing.capture_logs() as logs, watching(directory, poll_s=0.01) as watcher:
        assert eventually(lambda: bool(logs))
        publish(directory, 2, constant_model(62.0), state="unstable")
        assert eventually(lambda: len(logs) == 2)
        assert score(watcher) == BASE_SCORE
    assert [(event["event"], event["checkpoint"]) for event in logs] == [
        ("checkpoint_withheld", "model_v000001.onnx"),
        ("checkpoint_withheld", "model_v000002.onnx"),
    ]
    assert logs[0]["reason"] == "held-out: 1 group."


def test_a_poll_needs_no_hint(directory: Path) -> None:
    """Without any announcement the next poll finds the checkpoint."""
    with watching(directory, poll_s=0.02) as watcher:
        publish(directory, 1, constant_model(61.0))
        assert eventually(lambda: score(watcher) == 61.0)


def test_the_stable_link_can_go_back(directory: Path) -> None:
    """When the sidecar declares an older version the stable one, the node goes back to it."""
    publish(directory, 1, constant_model(61.0))
    publish(directory, 2, constant_model(62.0))
    link_stable(directory, 2)
    with watching(directory, poll_s=0.02) as watcher:
        assert eventually(lambda: score(watcher) == 62.0)
        link_stable(directory, 1)
        assert eventually(lambda: score(watcher) == 61.0)


def test_a_withdrawn_checkpoint_is_left_for_the_base_model(directory: Path) -> None:
    """The only stable checkpoint is rolled back while the node predicts with it: the base model serves again."""
    publish(directory, 1, constant_model(61.0))
    swaps: list[tuple[str, str]] = []
    with watching(directory, on_swap=lambda old, new: swaps.append((old.name, new.name))) as watcher:
        assert eventually(lambda: score(watcher) == 61.0)
        publish(directory, 1, constant_model(61.0), state="unstable")
        watcher.hint("again")
        assert eventually(lambda: score(watcher) == BASE_SCORE)
        assert eventually(lambda: len(swaps) == 2)
        assert swaps[1] == ("model_v000001.onnx", str(directory.parent / "base.onnx"))
        watcher.hint(str(publish(directory, 2, constant_model(62.0))))
        assert eventually(lambda: score(watcher) == 62.0)


def test_a_withdrawn_checkpoint_is_left_though_another_one_is_bad(directory: Path) -> None:
    """What is left cannot be used: the base model it is, not the one that was withdrawn."""
    publish(directory, 2, constant_model(62.0))
    with watching(directory) as watcher:
        assert eventually(lambda: score(watcher) == 62.0)
        publish(directory, 1, b"not a model")
        publish(directory, 2, constant_model(62.0), state="unstable")
        watcher.hint("again")
        assert eventually(lambda: score(watcher) == BASE_SCORE)


def test_a_disk_that_is_away_withdraws_nothing(directory: Path) -> None:
    """Neither a directory that is gone for a while nor a checkpoint that cannot be read just now."""
    path = publish(directory, 1, constant_model(61.0))
    with watching(directory, poll_s=0.02) as watcher:
        assert eventually(lambda: score(watcher) == 61.0)
        away = directory.rename(directory.parent / "away")
        assert keeps(lambda: score(watcher) == 61.0)
        Path(away / f"{path.name}.sha256").unlink()
        (away / path.name).rename(away / "model_v000002.onnx")
        (away / "model_v000002.json").write_text('{"state": "stable"}')
        away.rename(directory)
        assert keeps(lambda: score(watcher) == 61.0)


def test_a_swap_is_told_with_both_models(directory: Path) -> None:
    """The callback gets the model before and the one after, both able to predict."""
    swaps: list[tuple[str, float, str, float]] = []

    def note(before: NodeModel, after: NodeModel) -> None:
        swaps.append((before.name, before.predict(ROW)[0], after.name, after.predict(ROW)[0]))
        raise RuntimeError("the encoder's own fault")

    with watching(directory, on_swap=note) as watcher:
        for version in (1, 2):
            watcher.hint(str(publish(directory, version, constant_model(60.0 + version))))
            assert eventually(lambda version=version: len(swaps) == version)  # type: ignore[misc]
    assert [(Path(before).name, old, after, new) for before, old, after, new in swaps] == [
        ("base.onnx", BASE_SCORE, "model_v000001.onnx", 61.0),
        ("model_v000001.onnx", 61.0, "model_v000002.onnx", 62.0),
    ]


BAD = {
    "digest": {"onnx": constant_model(99.0), "digest": "0" * 64},
    "not a model": {"onnx": b"not a model"},
    "truncated": {"onnx": constant_model(99.0)[:-10]},
    "not finite": {"onnx": constant_model(np.inf)},
    "width": {"onnx": constant_model(99.0, n_features=N_FEATURES + 1)},
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_a_bad_checkpoint_changes_nothing(directory: Path, bad: dict[str, bytes]) -> None:
    """One that cannot be verified, loaded or used is passed over; the one before it stays, the next is taken."""
    publish(directory, 1, constant_model(61.0))
    with watching(directory) as watcher:
        assert eventually(lambda: score(watcher) == 61.0)
        path = publish(directory, 2, **bad)  # type: ignore[arg-type]
        watcher.hint(str(path))
        assert eventually(lambda: path.name in watcher._failed)
        assert score(watcher) == 61.0
        watcher.hint(str(publish(directory, 3, constant_model(63.0))))
        assert eventually(lambda: score(watcher) == 63.0)


def test_a_node_that_starts_beside_a_bad_checkpoint_takes_the_one_before(directory: Path) -> None:
    """The newest is bad: the next best is used rather than none."""
    publish(directory, 1, constant_model(61.0))
    publish(directory, 2, b"not a model")
    with watching(directory, policy="latest") as watcher:
        assert eventually(lambda: score(watcher) == 61.0)


def test_a_digest_that_is_missing_is_waited_for(directory: Path) -> None:
    """A file without its digest cannot be verified yet: it is not used, and not given up either."""
    path = publish(directory, 1, constant_model(61.0))
    digest = Path(f"{path}.sha256").read_bytes()
    Path(f"{path}.sha256").unlink()
    with watching(directory, poll_s=0.02) as watcher:
        assert keeps(lambda: score(watcher) == BASE_SCORE)
        Path(f"{path}.sha256").write_bytes(digest)
        assert eventually(lambda: score(watcher) == 61.0)


def test_a_model_that_fails_in_use_is_rolled_back(directory: Path) -> None:
    """One that passes the probe and then gives infinity is replaced by the one before, for good."""
    base = constant_model(BASE_SCORE, n_features=1)
    with watching(directory, base) as watcher:
        for version, onnx in ((1, constant_model(61.0, n_features=1)), (2, time_bomb())):
            watcher.hint(str(publish(directory, version, onnx)))
            assert eventually(lambda version=version: watcher.model.name == f"model_v{version:06}.onnx")  # type: ignore[misc]
        assert watcher.predict(np.array([[1.0]], np.float32)) == 7.0
        assert watcher.predict(np.array([[3.0]], np.float32)) == 61.0
        assert watcher.predict(np.array([[1.0]], np.float32)) == 61.0
        watcher.hint("again")
        assert keeps(lambda: watcher.model.name == "model_v000001.onnx")


@pytest.mark.parametrize("feature", [np.nan, np.inf])
def test_features_that_are_not_finite_condemn_no_model(directory: Path, feature: float) -> None:
    """A score that is not finite because a feature is not says nothing about the model."""
    publish(directory, 1, time_bomb())
    with watching(directory, constant_model(BASE_SCORE, n_features=1)) as watcher:
        assert eventually(lambda: watcher.model.name == "model_v000001.onnx")
        watcher.predict(np.array([[feature]], np.float32))
        assert watcher.model.name == "model_v000001.onnx"


def test_a_session_is_freed_after_its_last_prediction(directory: Path) -> None:
    """The replaced session lives as long as a prediction uses it, and no longer."""
    with watching(directory) as watcher:
        in_use = watcher.model
        session = weakref.ref(in_use.session)
        watcher.hint(str(publish(directory, 1, constant_model(61.0))))
        assert eventually(lambda: score(watcher) == 61.0)
        assert in_use.predict(ROW)[0] == BASE_SCORE
        del in_use
        assert eventually(lambda: gc.collect() >= 0 and session() is None)


def test_predictions_never_stop_while_models_change(directory: Path) -> None:
    """Threads predict while 30 checkpoints go in: each score is one that a published model gives."""
    scores: set[float] = set()
    stop = threading.Event()
    with watching(directory) as watcher:

        def predict() -> None:
            while not stop.is_set():
                scores.add(score(watcher))

        threads = [threading.Thread(target=predict) for _ in range(3)]
        for thread in threads:
            thread.start()
        for version in range(1, 31):
            watcher.hint(str(publish(directory, version, constant_model(float(version)))))
        assert eventually(lambda: 30.0 in scores)
        stop.set()
        for thread in threads:
            thread.join()
    assert scores <= {BASE_SCORE, *map(float, range(1, 31))}


def test_swaps_leave_no_file_open(directory: Path) -> None:
    """Files are read and closed: after twenty swaps no descriptor leads into the directory."""
    with watching(directory) as watcher:
        for version in range(1, 21):
            watcher.hint(str(publish(directory, version, constant_model(float(version)))))
        assert eventually(lambda: score(watcher) == 20.0)
        targets = [Path(os.path.realpath(descriptor)) for descriptor in Path("/proc/self/fd").iterdir()]
        assert not [target for target in targets if target.is_relative_to(directory)]


def test_an_unusable_base_model_is_an_error(tmp_path: Path) -> None:
    """A node without a model to begin with says so at once, naming the file."""
    (tmp_path / "base.onnx").write_bytes(b"not a model")
    with pytest.raises(UnusableModel, match="base"):
        CheckpointWatcher(tmp_path, tmp_path / "base.onnx")
