"""What an operator orders holds: at once, under load, and whatever ends and starts again."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.checkpoints import checkpoint
from pipeline.checkpoints.names import published
from pipeline.model.default_network import two_layer
from pipeline.runtime import regions
from tests.support.sidecar import QUICK, Sidecar, running
from tests.support.stream import Stream, numbered
from tests.support.waiting import eventually

pytestmark = pytest.mark.processes


@pytest.fixture
def sidecar(tmp_path: Path) -> Iterator[Sidecar]:
    """Run a sidecar that refines a small model and publishes every second."""
    base = tmp_path / "base.onnx"
    base.write_bytes(two_layer(6, hidden=8, seed=1).SerializeToString())
    with running(tmp_path, **QUICK, VMAFX_BASE_MODEL_PATH=str(base), VMAFX_SIDECAR_KEEP_CHECKPOINTS="50") as started:
        yield started


def order(sidecar: Sidecar, *words: str) -> str:
    """Give an order; return what the command says."""
    done = sidecar.command(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_pause_holds_over_every_restart(sidecar: Sidecar) -> None:
    """Samples are answered and nothing is trained, with the trainer killed, and with all of the memory lost."""
    with Stream(sidecar) as stream:
        stream.wait_for_more(500)
        order(sidecar, "pause", "--reason", "scores look wrong")
        eventually(lambda: sidecar.reported().trainer.phase == "paused")
        paused = sidecar.reported()
        assert paused.phase == "paused"
        assert any("scores look wrong" in problem for problem in paused.problems)
        stream.wait_for_more(500)
        stood_at = sidecar.reported().trainer.cursor  # with the rows that were on their way
        before = sidecar.pid("trainer")
        sidecar.kill("trainer")
        eventually(lambda: sidecar.pid("trainer") != before and sidecar.reported().trainer.phase == "paused")
        stream.wait_for_more(500)
        assert sidecar.reported().trainer.cursor <= stood_at
    assert sidecar.command("export", "--timeout", "5").returncode != 0
    assert sidecar.stop() == 0
    sidecar.lose_memory()
    sidecar.start()
    eventually(lambda: sidecar.reported().trainer.phase == "paused")
    assert sidecar.reported().trainer.lag > 0
    order(sidecar, "resume")
    eventually(lambda: sidecar.reported().trainer.phase == "running" and sidecar.reported().trainer.lag == 0)
    told = [json.loads(line) for line in order(sidecar, "history", "--json").splitlines()]
    assert [(each["text"], each["reason"]) for each in told] == [("pause", "scores look wrong"), ("resume", "")]


def states(sidecar: Sidecar) -> dict[int, str]:
    """Return the states of what is published, by version."""
    known, _ = checkpoint.read_all(sidecar.checkpoints)
    return {version: each.state for version, each in known.items()}


def reasons(sidecar: Sidecar) -> list[str]:
    """Return what the gate has said of each of them."""
    return [each.reason for each in checkpoint.read_all(sidecar.checkpoints)[0].values()]


def test_while_frozen_nothing_becomes_stable(sidecar: Sidecar) -> None:
    """Checkpoints come, judged and unstable; after unfreeze one is stable."""
    order(sidecar, "freeze")
    with Stream(sidecar) as stream:
        stream.wait_for_more(300)
        eventually(lambda: any("frozen" in reason for reason in reasons(sidecar)))
        sidecar.signal("exporter", signal.SIGKILL)
        newest = max(states(sidecar))
        eventually(lambda: max(states(sidecar)) > newest + 1)
        assert "stable" not in states(sidecar).values()
        order(sidecar, "unfreeze")
        eventually(lambda: sidecar.reported().exporter.stable_version > 0)


def test_what_was_rolled_back_does_not_come_back(sidecar: Sidecar) -> None:
    """The stream goes on as it was: the training starts over, and learns the same again, and none of it is stable."""
    with Stream(sidecar) as stream:
        eventually(lambda: sidecar.reported().exporter.stable_version > 0)
        order(sidecar, "freeze")  # so that exactly one is rolled back
        stable = [version for version, state in states(sidecar).items() if state == "stable"]
        for version in reversed(stable):
            told = json.loads(order(sidecar, "rollback", "--json", "--reason", "poisoned"))
            assert told["withdrawn"] == version
        order(sidecar, "unfreeze")
        withdrawn = max(published(sidecar.checkpoints))
        eventually(lambda: max(published(sidecar.checkpoints)) >= withdrawn + 6)
        later = {version: state for version, state in states(sidecar).items() if version > withdrawn}
        assert "stable" not in later.values()
        assert any("has withdrawn" in checkpoint.read(sidecar.checkpoints, version).reason for version in later)
        assert len(list(sidecar.settings.state_dir.glob("withdrawn-*.onnx"))) == len(stable)
        for version in stable:
            order(sidecar, "rollback", "--lift", str(version))
        assert list(sidecar.settings.state_dir.glob("withdrawn-*")) == []
        eventually(lambda: sidecar.reported().exporter.stable_version > 0)
        assert len(stream.answered) > 0


def test_a_quarantined_node_is_answered_and_not_learned_from(sidecar: Sidecar) -> None:
    """Its rows leave what is remembered, before and after a restart without memory; others' stay; lifted, they come."""
    with sidecar.client() as client:
        for number in range(1, 401):
            node = "bad" if number % 2 else "good"
            assert client.ask(numbered(number) | {"node_id": node})["ok"]
    sidecar.wait_for(lambda: sidecar.reported().trainer.cursor == 400)
    given = order(sidecar, "quarantine", "--node", "bad")
    eventually(lambda: sidecar.reported().trainer.orders)

    def remembered() -> int:
        sizes = {"reservoir": sidecar.settings.reservoir_capacity, "holdout": sidecar.settings.holdout_capacity}
        return sum(len(regions.attach_reservoir(sidecar.settings, name, size)[0]) for name, size in sizes.items())

    assert remembered() == 200
    with sidecar.client() as client:
        for number in range(401, 501):
            assert client.ask(numbered(number) | {"node_id": "bad"})["ok"]
    eventually(lambda: sidecar.reported().trainer.excluded == 100)
    assert sidecar.stop() == 0
    sidecar.lose_memory()
    sidecar.start()
    eventually(lambda: sidecar.reported().trainer.orders)
    assert remembered() == 200
    order(sidecar, "quarantine", "--lift", given.split(":")[0].split()[1])
    with sidecar.client() as client:
        for number in range(501, 511):
            assert client.ask(numbered(number) | {"node_id": "bad"})["ok"]
    eventually(lambda: remembered() == 210)


def test_a_reset_starts_over_while_samples_come(sidecar: Sidecar) -> None:
    """To the base model, to a version; once only, also after a restart; forgotten samples are gone."""
    with Stream(sidecar) as stream:
        eventually(lambda: sidecar.reported().exporter.stable_version > 0)
        order(sidecar, "pause")
        eventually(lambda: sidecar.reported().trainer.phase == "paused")
        assert "version" in order(sidecar, "reset", "--to", "latest-stable")
        assert "base model" in order(sidecar, "reset", "--to", "base", "--forget-samples")
        eventually(lambda: sidecar.reported().trainer.reservoir_rows == 0)
        order(sidecar, "resume")
        stream.wait_for_more(200)
        eventually(lambda: sidecar.reported().trainer.reservoir_rows > 50)
    sidecar.wait_for(lambda: sidecar.reported().trainer.lag == 0)
    before = sidecar.pid("trainer")
    rows = sidecar.reported().trainer.reservoir_rows
    sidecar.kill("trainer")
    eventually(lambda: sidecar.pid("trainer") != before and sidecar.reported().trainer.phase == "running")
    assert sidecar.reported().trainer.reservoir_rows >= rows
    assert sidecar.command("reset", "--to", "nonsense").returncode == 2
    assert sidecar.command("reset", "--to", "999").returncode == 1
