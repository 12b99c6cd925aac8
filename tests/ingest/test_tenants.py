"""VMAFX_SIDECAR_TENANTS: nothing of another tenant gets in, so that nothing of it is learned."""

import json

import numpy as np
import pytest

from pipeline.ingest.admission import Admission
from pipeline.ingest.dedup import Deduplicator
from pipeline.trainer.online import OnlineTraining
from tests.trainer.streams import Stream, corpus

PREFIX = b'{"ok":true,"job_id":'


def admission(stream: Stream, *tenants: str) -> Admission:
    """Take samples into the ring of a training."""
    return Admission(stream.ring, Deduplicator(stream.ring.capacity, []), 65536, tenants=tenants)


def line(tenant: object, row: int, **more: object) -> bytes:
    """Return a frame of the shipped corpus as a sample of a tenant."""
    frames = corpus().only("stream")
    message = {
        "job_id": f"{tenant}-{row}",
        "features": frames.features[row].tolist(),
        "true_score": float(frames.targets["vmaf_phone"][row]),
        "source_id": frames.source[row],
        **({} if tenant is None else {"tenant_id": tenant}),
        **more,
    }
    return json.dumps(message).encode()


@pytest.mark.parametrize("tenant", ["a", "B", "b ", "", None, 7, ["b"], {"b": 1}])
def test_samples_of_others_are_refused(tenant: object) -> None:
    """Also those without one, or whose tenant is no name; beside good ones, alone, and by this reason."""
    taker = admission(Stream(), "b", "c")
    replies = [
        json.loads(reply)
        for block in (line(tenant, 0), b"\n".join([line("b", 1), line(tenant, 2), line("c", 3)]))
        for reply in taker.admit([[block]], PREFIX)[0].splitlines()
    ]
    assert [reply["ok"] for reply in replies] == [False, True, False, True]
    assert all("tenant" in reply["error"] for reply in replies if not reply["ok"])
    assert '"c"' not in json.dumps(replies), "who is served here is nobody else's business"
    assert taker.rejected == {"tenant": 2}


def test_without_the_setting_all_are_taken() -> None:
    """Whatever a node sends there."""
    taker = admission(Stream())
    for row, tenant in enumerate(("a", None, 7, ["b"])):
        assert json.loads(taker.admit([[line(tenant, row)]], PREFIX)[0])["ok"]
    assert taker.rejected == {}


def test_a_tenants_model_is_the_same_beside_the_other() -> None:
    """Bit for bit, at every step: with another tenant's samples on the same connections as without them."""
    alone, beside = Stream(), Stream()
    of_alone, of_beside = admission(alone, "b"), admission(beside, "b")
    for first in range(0, 1600, 16):
        rows = range(first, first + 16)
        own = [line("b", row) for row in rows]
        others = [line("a", row, true_score=1.0) for row in rows]
        of_alone.admit([[b"\n".join(own)]], PREFIX)
        mixed = [each for pair in zip(others, own, strict=True) for each in pair]
        of_beside.admit([[b"\n".join(mixed)], [b"\n".join(others)]], PREFIX)
        assert alone.training.advance(16) == beside.training.advance(16) == 16
        assert weights(alone.training) == weights(beside.training)
    assert of_beside.rejected == {"tenant": 3200}
    assert alone.training.total_steps > 100
    assert not np.array_equal(alone.training.export_vector(), alone.base.vector())


def weights(training: OnlineTraining) -> bytes:
    """Return what a checkpoint would be made of."""
    return training.export_vector().tobytes()
