"""What a fleet's pool offers: one more candidate, judged by this sidecar's gate against base, last stable and live."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import structlog

from pipeline.artifacts import offer
from pipeline.artifacts.offer import About, Offer, Slot
from pipeline.checkpoints.commands import roll_back
from pipeline.checkpoints.names import file_of, published
from pipeline.exporter.jobs import Jobs, NotReady
from pipeline.runtime import control
from pipeline.runtime.control import Control, Order, Withdrawn, withdrawn_model
from pipeline.runtime.restore import Saved
from tests.support.checkpoints import small_model
from tests.support.surroundings import Surroundings, settings_for

TRUE, OTHER = small_model(seed=3).vector(), small_model(seed=4).vector()
ORIGIN = "oci://fleet.example/m@sha256:1"


def between(share: float) -> npt.NDArray[np.float32]:
    """Return weights that are this near to the true ones, from the base model's."""
    base = small_model().vector()
    return (base + np.float32(share) * (TRUE - base)).astype(np.float32)


@pytest.fixture
def around(tmp_path: Path, instance: str) -> Iterator[Surroundings]:
    """Give regions in which the trainer has good weights, and rows to judge by."""
    made = Surroundings(settings_for(tmp_path / "online", instance))
    made.feed(20)
    made.train(between(0.9), step=5)
    made.hold_out(made.base.with_weights(TRUE))
    yield made
    made.discard()


def jobs_of(around: Surroundings) -> Jobs:
    """Return the work of an exporter that has just started."""
    log = structlog.get_logger()
    return Jobs(around.settings, around.board, log, Saved(around.settings, log))


def make_offer(around: Surroundings, weights: npt.NDArray[np.float32], digest: str = "sha256:1") -> None:
    """Offer a model, as the uplink does."""
    onnx = around.base.with_weights(weights)
    about = About("oci://fleet.example/m", digest, hashlib.sha256(onnx).hexdigest(), around.base.digest)
    offer.write(around.settings.state_dir, Offer(about, onnx), Slot.FLEET)


def started_from(around: Surroundings) -> bytes:
    """Return the weights that the training was ordered to start from; none where it was not."""
    return control.read(around.settings.state_dir).weights


def is_on_offer(around: Surroundings) -> bool:
    """Whether the offer has not been judged."""
    return offer.is_there(around.settings.state_dir, Slot.FLEET)


def give(around: Surroundings, **orders: object) -> None:
    """Put orders in force."""

    def alter(now: Control, order: Order) -> Control:
        given = {name: order if value is True else value for name, value in orders.items()}
        return Control(**{"number": now.number, "withdrawn": now.withdrawn, **given})  # type: ignore[arg-type]

    control.change(around.settings, "test", "", alter)


def test_a_better_model_is_stable_and_training_goes_on_from_it(around: Surroundings) -> None:
    """Beside a stable checkpoint of this sidecar's own; its sidecar file says where it comes from."""
    jobs = jobs_of(around)
    own = jobs.export().stable
    assert own is not None
    assert own.origin == ""
    make_offer(around, TRUE)
    overview = jobs.judge_offers()
    assert overview.stable is not None
    assert (overview.stable.version, overview.stable.step, overview.stable.origin) == (2, 0, ORIGIN)
    assert overview.stable.metrics["held-out"].stable is not None  # judged against the own one, too
    np.testing.assert_array_equal(np.frombuffer(started_from(around), np.float32), TRUE)
    assert not is_on_offer(around)
    assert [(each.name, each.told) for each in jobs.take_outcomes()] == [
        ("taken", f"version 2: {ORIGIN}; training starts from it")
    ]


def test_a_good_model_that_is_worse_than_the_live_weights_does_not_change_the_training(around: Surroundings) -> None:
    """It is stable, as it is better than what is; but what has been learned since is better still."""
    around.train(between(0.5), step=5)
    jobs = jobs_of(around)
    jobs.export()
    around.train(between(0.95), step=50)
    make_offer(around, between(0.8))
    overview = jobs.judge_offers()
    assert overview.stable is not None
    assert (overview.stable.origin, started_from(around)) == (ORIGIN, b"")
    assert jobs.take_outcomes()[-1].told.endswith("training goes on from the live weights, which are better")


def test_a_bad_model_is_refused_with_the_reason(around: Surroundings) -> None:
    """Worse than base and last stable: nothing is published, and the next good one counts."""
    jobs = jobs_of(around)
    jobs.export()
    make_offer(around, OTHER)
    jobs.judge_offers()
    assert published(around.settings.checkpoint_dir) == [1]
    assert not is_on_offer(around)
    (outcome,) = jobs.take_outcomes()
    assert outcome.name == "refused"
    assert outcome.told.startswith(f"refused: {ORIGIN}: held-out: ")
    make_offer(around, TRUE)
    overview = jobs.judge_offers()
    assert overview.stable is not None
    assert overview.stable.version == 2


def test_a_model_worse_than_the_own_stable_one_is_refused(around: Surroundings) -> None:
    """Although it is better than the base model."""
    jobs = jobs_of(around)
    jobs.export()
    make_offer(around, between(0.3))
    jobs.judge_offers()
    (outcome,) = jobs.take_outcomes()
    assert (outcome.name, published(around.settings.checkpoint_dir)) == ("refused", [1])
    assert "last stable" in outcome.told


def test_without_held_out_rows_it_waits(tmp_path: Path, instance: str) -> None:
    """And says so."""
    around = Surroundings(settings_for(tmp_path / "online", instance))
    try:
        around.train(between(0.9), step=5)
        make_offer(around, TRUE)
        jobs = jobs_of(around)
        jobs.judge_offers()
        assert is_on_offer(around)
        assert jobs.has_offers
        (outcome,) = jobs.take_outcomes()
        assert outcome.told.startswith(f"waits: {ORIGIN}: held-out: 0 rows")
        around.hold_out(around.base.with_weights(TRUE))
        assert jobs.judge_offers().stable is not None
    finally:
        around.discard()


@pytest.mark.parametrize("order", ["paused", "frozen"])
def test_an_operators_order_holds_it_back(around: Surroundings, order: str) -> None:
    """It is neither published nor lost, and counts when the order is lifted."""
    jobs = jobs_of(around)
    jobs.export()
    give(around, **{order: True})
    make_offer(around, TRUE)
    if order == "paused":
        with pytest.raises(NotReady):
            jobs.judge_offers()
    else:
        jobs.judge_offers()
    assert published(around.settings.checkpoint_dir) == [1]
    assert is_on_offer(around)
    give(around)
    overview = jobs.judge_offers()
    assert overview.stable is not None
    assert overview.stable.origin == ORIGIN


def test_what_an_operator_has_rolled_back_does_not_come_back_by_the_fleet(around: Surroundings) -> None:
    """Neither the same model under any digest, nor one that predicts nearly the same."""
    jobs = jobs_of(around)
    jobs.export()
    make_offer(around, TRUE)
    jobs.judge_offers()
    directory = around.settings.checkpoint_dir
    bad, _ = roll_back(directory)
    withdrawn = Withdrawn(number=9, version=bad.version, sha256=bad.sha256, base_digest=bad.base_sha256)
    kept = withdrawn_model(around.settings.state_dir, withdrawn)
    kept.write_bytes(file_of(directory, bad.version).read_bytes())
    give(around, withdrawn=(withdrawn,))
    jobs.take_outcomes()
    for number, weights in enumerate((TRUE, between(0.999))):
        make_offer(around, weights, f"sha256:{number + 2}")
        jobs.judge_offers()
        (outcome,) = jobs.take_outcomes()
        assert (outcome.name, "has withdrawn" in outcome.told) == ("refused", True)
    assert published(directory) == [1, 2]


def test_two_offers_do_not_wait_for_each_other(around: Surroundings) -> None:
    """The registry's, too late here, is dismissed; the fleet's is judged."""
    jobs = jobs_of(around)
    jobs.export()
    onnx = around.base.with_weights(OTHER)
    about = About("file:///r", "sha256:9", hashlib.sha256(onnx).hexdigest(), around.base.digest)
    offer.write(around.settings.state_dir, Offer(about, onnx))
    make_offer(around, TRUE)
    overview = jobs.judge_offers()
    assert overview.stable is not None
    assert overview.stable.origin == ORIGIN
    assert [each.name for each in jobs.take_outcomes()] == ["unfit", "taken"]
    assert not offer.is_there(around.settings.state_dir)


def test_an_exporter_that_died_after_publishing_does_the_rest(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is published once, and the training starts from it once."""
    jobs = jobs_of(around)
    jobs.export()
    make_offer(around, TRUE)

    def refuse(*_: object) -> None:
        raise OSError(5, "as if it had died here")

    monkeypatch.setattr(control, "change", refuse)
    with pytest.raises(OSError, match="as if"):
        jobs.judge_offers()
    monkeypatch.undo()
    jobs.judge_offers()
    assert published(around.settings.checkpoint_dir) == [1, 2]
    np.testing.assert_array_equal(np.frombuffer(started_from(around), np.float32), TRUE)
    assert not is_on_offer(around)


def test_a_newer_offer_survives_the_removal_of_the_one_that_was_judged(around: Surroundings) -> None:
    """The uplink may put it there while the exporter judges."""
    make_offer(around, OTHER)
    judged = offer.read(around.settings.state_dir, Slot.FLEET)
    assert judged is not None
    make_offer(around, TRUE, "sha256:2")
    offer.remove(around.settings.state_dir, judged.about, Slot.FLEET)
    left = offer.read(around.settings.state_dir, Slot.FLEET)
    assert left is not None
    assert left.about.digest == "sha256:2"
