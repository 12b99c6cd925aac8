"""What a registry offers for an empty directory: judged by this sidecar's own gate before a node can see it."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import structlog

from pipeline.artifacts import offer
from pipeline.artifacts.offer import About, Offer
from pipeline.checkpoints.names import published
from pipeline.exporter.jobs import Jobs
from pipeline.runtime import control
from pipeline.runtime.restore import Saved
from tests.support.checkpoints import small_model
from tests.support.surroundings import Surroundings, settings_for

GOOD, OWN = small_model(seed=3).vector(), small_model(seed=4).vector()


@pytest.fixture
def around(tmp_path: Path, instance: str) -> Iterator[Surroundings]:
    """Give regions in which the trainer has weights of its own."""
    made = Surroundings(settings_for(tmp_path / "online", instance))
    made.feed(20)
    made.train(OWN, step=5)
    yield made
    made.discard()


def jobs_of(around: Surroundings) -> Jobs:
    """Return the work of an exporter that has just started."""
    log = structlog.get_logger()
    return Jobs(around.settings, around.board, log, Saved(around.settings, log))


def make_offer(around: Surroundings, onnx: bytes, base: str = "") -> None:
    """Offer a model, as the publisher does."""
    about = About("oci://r.example/m", "sha256:1", hashlib.sha256(onnx).hexdigest(), base or around.base.digest)
    offer.write(around.settings.state_dir, Offer(about, onnx))


def started_from(around: Surroundings) -> bytes:
    """Return the weights that the training was ordered to start from; none where it was not."""
    return control.read(around.settings.state_dir).weights


def test_a_model_that_the_gate_agrees_with_is_the_first_checkpoint(around: Surroundings) -> None:
    """And the training is ordered to start from it; from then on, its own candidates."""
    around.hold_out(around.base.with_weights(GOOD))
    make_offer(around, around.base.with_weights(GOOD))
    jobs = jobs_of(around)
    overview = jobs.export()
    assert overview.stable is not None
    assert (overview.stable.version, overview.stable.step) == (1, 0)
    assert overview.stable.origin == "oci://r.example/m@sha256:1"
    np.testing.assert_array_equal(np.frombuffer(started_from(around), np.float32), GOOD)
    assert not offer.is_there(around.settings.state_dir)
    after = jobs.export()
    assert after.latest is not None
    assert (after.latest.version, after.latest.step) == (2, 5)


def test_a_model_that_it_does_not_agree_with_is_never_seen(around: Surroundings) -> None:
    """Not even as an unstable checkpoint; the sidecar's own candidate is the first."""
    around.hold_out(around.base.serialized)
    make_offer(around, around.base.with_weights(GOOD))
    overview = jobs_of(around).export()
    assert overview.latest is not None
    assert (overview.latest.step, started_from(around)) == (5, b"")
    assert published(around.settings.checkpoint_dir) == [1]
    assert not offer.is_there(around.settings.state_dir)


def test_without_held_out_rows_it_waits(around: Surroundings) -> None:
    """Nothing of it is published before it can be judged; then it still counts."""
    make_offer(around, around.base.with_weights(GOOD))
    jobs = jobs_of(around)
    first = jobs.export()
    assert first.latest is not None
    assert (first.latest.state, first.latest.step) == ("unproven", 5)
    assert offer.is_there(around.settings.state_dir)
    around.hold_out(around.base.with_weights(GOOD))
    second = jobs.export()
    assert second.stable is not None
    assert (second.stable.version, second.stable.step) == (2, 0)


@pytest.mark.parametrize("what", ["another base", "another graph", "no model", "broken"])
def test_what_does_not_fit_is_dismissed(around: Surroundings, what: str) -> None:
    """Of another base model, with another graph, no model at all, or not whole."""
    around.hold_out(around.base.with_weights(GOOD))
    good = around.base.with_weights(GOOD)
    content = {"another graph": good + b"\x12\x00", "no model": b"garbage"}.get(what, good)
    make_offer(around, content, base="f" * 64 if what == "another base" else "")
    if what == "broken":
        offer.Slot.FIRST.model(around.settings.state_dir).write_bytes(b"half of it")
    overview = jobs_of(around).export()
    assert overview.latest is not None
    assert (overview.latest.step, started_from(around)) == (5, b"")
    assert not offer.is_there(around.settings.state_dir)


def test_an_exporter_that_died_before_the_order_gives_it_at_its_next_export(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The offer is published once, and the training starts from it once."""
    around.hold_out(around.base.with_weights(GOOD))
    make_offer(around, around.base.with_weights(GOOD))

    def refuse(*_: object) -> None:
        raise OSError(5, "as if it had died here")

    monkeypatch.setattr(control, "change", refuse)
    jobs = jobs_of(around)
    with pytest.raises(OSError, match="as if"):
        jobs.export()
    monkeypatch.undo()
    assert started_from(around) == b""
    overview = jobs.export()
    np.testing.assert_array_equal(np.frombuffer(started_from(around), np.float32), GOOD)
    assert overview.latest is not None
    assert (overview.latest.version, overview.latest.step) == (2, 5)
    assert not offer.is_there(around.settings.state_dir)
