"""The trainer's refuge: the last stable checkpoint of its own base model, as long as there is one."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from pipeline import config
from pipeline.runtime import messages, regions
from pipeline.runtime.reports import TrainerReport
from pipeline.shm import segment
from pipeline.trainer.stable_follower import StableFollower
from tests.trainer.streams import Stream

OURS, OTHERS = "a" * 64, "b" * 64


def hand(settings: config.Settings, checkpoint: int, base_digest: str, value: float, room: int = 0) -> None:
    """Publish weights as the exporter does."""
    weights = np.full(Stream().base.n_parameters, value, np.float32).tobytes()
    payload = messages.encode(messages.StableWeights(checkpoint=checkpoint, base_digest=base_digest, weights=weights))
    regions.own_mailbox(settings, "stable", len(weights) + 1024 + room)[0].publish(payload)


def test_only_what_is_stable_now_is_a_refuge(instance: str) -> None:
    """A withdrawn one is none, one of another base model is none, and a region that was replaced is followed."""
    settings = config.load({"VMAFX_SIDECAR_INSTANCE": instance})
    phases: list[str] = []
    process = SimpleNamespace(settings=settings, report=TrainerReport(base_digest=OURS, base_before="b"))
    process.phase = phases.append
    training = Stream().training
    stable = StableFollower(cast(Any, process))

    def refuge() -> float | None:
        stable.follow(training)
        known = training._references.get("stable")
        return None if known is None else float(known[0])

    assert refuge() is None
    hand(settings, 1, OTHERS, 1.0)
    assert refuge() is None
    assert process.report.base_before == "b"
    hand(settings, 2, OURS, 2.0)
    assert refuge() == 2.0
    assert (process.report.base_before, len(phases)) == ("", 1), "there is nothing more to be said of the change"
    hand(settings, 0, "", 0.0)
    assert refuge() is None
    hand(settings, 3, OURS, 3.0, room=64)
    assert refuge() == 3.0
    segment.remove(regions.name(instance, "stable"))
    hand(settings, 1, OTHERS, 1.0)
    assert refuge() is None


def test_a_saved_training_brings_no_refuge_back() -> None:
    """The checkpoint may have been withdrawn since: who knows is asked again."""
    stream = Stream()
    stream.training.set_stable(stream.training.export_vector())
    other = Stream().training
    other.restore(*stream.training.state())
    assert "stable" not in other._references
