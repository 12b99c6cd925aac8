"""What the trainer is told of the last stable checkpoint."""

from pathlib import Path

import pytest

from pipeline import data
from pipeline.checkpoints.checkpoint import Checkpoint, Verdict
from pipeline.checkpoints.publish import publish
from pipeline.config import Settings, load
from pipeline.exporter.stable_publisher import StablePublisher
from pipeline.model.graph import load_base_model
from pipeline.runtime import messages, regions
from pipeline.runtime.messages import ServedModel
from pipeline.shm.segment import SegmentAbsent, SharedMemoryFull


def test_a_withdrawn_checkpoint_is_no_refuge(tmp_path: Path, instance: str) -> None:
    """After a rollback that leaves no stable checkpoint, the region says so, also after a restart of the exporter."""
    settings = load({"VMAFX_SIDECAR_INSTANCE": instance, "VMAFX_SIDECAR_CHECKPOINT_DIR": str(tmp_path)})
    made = _publish(tmp_path)
    publisher = StablePublisher(settings)
    publisher.follow(made)
    box, _ = regions.attach_mailbox(settings, "stable")
    assert _told(box.read()) == made.version
    publisher.follow(None)
    assert _told(box.read()) == 0
    publisher.follow(made)
    StablePublisher(settings).follow(None)
    assert _told(box.read()) == 0


def test_room_is_made_before_it_is_needed(tmp_path: Path, instance: str) -> None:
    """As soon as there is a base model there is a region that its weights fit into: they need no room later."""
    settings = load({"VMAFX_SIDECAR_INSTANCE": instance, "VMAFX_SIDECAR_CHECKPOINT_DIR": str(tmp_path)})
    publisher = StablePublisher(settings)
    publisher.follow(None)
    with pytest.raises(SegmentAbsent):
        regions.attach_mailbox(settings, "stable")
    made = _publish(tmp_path)
    _serve_model(settings)
    publisher.follow(None)
    before, segment = regions.attach_mailbox(settings, "stable")
    publisher.follow(made)
    assert segment.is_current()
    assert _told(before.read()) == made.version


def test_no_room_is_a_problem_and_no_more(tmp_path: Path, instance: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be made now is made at the next look; nothing else of the exporter's work waits for it."""
    settings = load({"VMAFX_SIDECAR_INSTANCE": instance, "VMAFX_SIDECAR_CHECKPOINT_DIR": str(tmp_path)})
    made = _publish(tmp_path)
    publisher = StablePublisher(settings)

    def full(*_: object, **__: object) -> None:
        raise SharedMemoryFull("no room")

    with monkeypatch.context() as patch:
        patch.setattr(regions, "own_mailbox", full)
        publisher.follow(made)
        assert publisher.problem == "stable weights: no room"
    publisher.follow(made)
    assert publisher.problem == ""
    assert _told(regions.attach_mailbox(settings, "stable")[0].read()) == made.version


def _publish(directory: Path) -> Checkpoint:
    base = load_base_model(data.BASE_MODEL)
    model, verdict = base.with_weights(base.vector()), Verdict("stable", "good", {})
    return publish(
        directory, model, verdict, step=1, samples=1, created="2026-01-01T00:00:00Z", base=("b", base.digest)
    )


def _serve_model(settings: Settings) -> None:
    base = load_base_model(data.BASE_MODEL)
    served = messages.encode(ServedModel(name=base.name, digest=base.digest, onnx=base.serialized))
    regions.own_mailbox(settings, "model", len(served))[0].publish(served)


def _told(letter: object) -> int:
    payload = getattr(letter, "payload", b"")
    return messages.decode_stable(payload).checkpoint
