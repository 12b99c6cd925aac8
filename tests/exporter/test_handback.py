"""What the trainer is told of the last stable checkpoint."""

from pathlib import Path

from pipeline import data, handoff, regions
from pipeline.config import load
from pipeline.exporter.checkpoint import Verdict
from pipeline.exporter.handback import Handback
from pipeline.exporter.publish import publish
from pipeline.model.graph import load_base_model


def test_a_withdrawn_checkpoint_is_no_refuge(tmp_path: Path, instance: str) -> None:
    """After a rollback that leaves no stable checkpoint, the region says so, also after a restart of the exporter."""
    settings = load({"VMAFX_SIDECAR_INSTANCE": instance, "VMAFX_SIDECAR_CHECKPOINT_DIR": str(tmp_path)})
    base = load_base_model(data.BASE_MODEL)
    model = base.with_weights(base.vector())
    verdict = Verdict("stable", "good", {})
    made = publish(tmp_path, model, verdict, step=1, samples=1, created="2026-01-01T00:00:00Z", base=("b", base.digest))
    handback = Handback(settings)
    handback.follow(made)
    box, _ = regions.attach_mailbox(settings, "stable")
    assert _told(box.read()) == made.version
    handback.follow(None)
    assert _told(box.read()) == 0
    handback.follow(made)
    Handback(settings).follow(None)
    assert _told(box.read()) == 0


def _told(letter: object) -> int:
    payload = getattr(letter, "payload", b"")
    return handoff.decode_stable(payload).checkpoint
