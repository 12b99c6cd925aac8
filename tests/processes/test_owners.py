"""Whose samples are: what a whole sidecar makes of the names that nodes send."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.checkpoints import checkpoint
from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.checkpoints.names import file_of, version_of_model
from pipeline.data import BASE_MODEL
from pipeline.model.runtime import OnnxModel
from pipeline.runtime import messages, regions
from pipeline.runtime.messages import Names
from tests.base_models.real_frames import export, trained
from tests.support.invented import BAD, NODES, five_nodes
from tests.support.sidecar import SIX, Sidecar, running

pytestmark = pytest.mark.processes

ON_REQUEST = SIX | {
    "VMAFX_BASE_MODEL_PATH": str(BASE_MODEL),
    "VMAFX_SIDECAR_CKPT_INTERVAL_S": "3600",
    "OMP_NUM_THREADS": "1",
}
"""Checkpoints when the test asks for them."""


def five_streams() -> list[dict[str, Any]]:
    """Return the messages of five nodes."""
    sent = five_nodes()
    return [
        {
            "job_id": f"frame {number}",
            "features": features,
            "true_score": score,
            "source_id": group,
            "node_id": f"node {node}",
            "codec": ("av1", "h264")[number % 2],
        }
        for number, (features, score, node, group) in enumerate(
            zip(sent.features.tolist(), sent.score.tolist(), sent.node.tolist(), sent.group, strict=True)
        )
    ]


def judged(sidecar: Sidecar) -> Checkpoint:
    """Have a checkpoint made; return what is known of it."""
    version = version_of_model(export(sidecar))
    assert version is not None
    return checkpoint.read(sidecar.checkpoints, version)


def names(sidecar: Sidecar) -> Names:
    """Return the names in shared memory."""
    box, region = regions.attach_mailbox(sidecar.settings, "names")
    published = box.read()
    region.close()
    assert published is not None
    return messages.decode_names(published.payload)


def test_names_come_back_with_the_saved_state(tmp_path: Path) -> None:
    """Stopped, its shared memory lost, started again: the gate knows the same names, of samples of before."""
    with running(tmp_path, **ON_REQUEST) as sidecar:
        with sidecar.client() as client:
            assert all(answer["ok"] for answer in client.ask_all(five_streams()[:1000]))
        trained(sidecar, 1000)
        before = names(sidecar)
        assert set(before.codec.values()) == {"av1", "h264"}
        assert set(before.node.values()) == {f"node {number}" for number in range(1, NODES + 1)}
        assert sidecar.stop() == 0
        sidecar.lose_memory()
        sidecar.start()
        assert names(sidecar) == before
        by = judged(sidecar).metrics["held-out"].by
        assert set(by) == {"codec", "node"}
        assert set(by["codec"]) == {"av1", "h264"}
        assert set(by["node"]) <= set(before.node.values())


def test_a_node_that_invents_groups_makes_nothing_stable(tmp_path: Path) -> None:
    """Five connections; one sends too low scores of 120 groups. The training believes it, the gate does not."""
    streams = five_streams()
    with running(tmp_path, **ON_REQUEST) as sidecar:
        clients = {f"node {number}": sidecar.client() for number in range(1, NODES + 1)}
        found = []
        for start in range(0, len(streams), 1000):
            for at in range(start, start + 1000, 50):
                for node, client in clients.items():
                    own = [message for message in streams[at : at + 50] if message["node_id"] == node]
                    assert all(answer["ok"] for answer in client.ask_all(own))
            trained(sidecar, start + 1000)
            found.append(judged(sidecar))
        for client in clients.values():
            client.socket.close()
        assert "stable" not in {each.state for each in found}
        assert sidecar.reported().exporter.stable_version == 0
        liar = found[-1].metrics["held-out"].by["node"][f"node {BAD}"]
        assert liar.candidate is not None
        assert liar.base is not None
        assert liar.candidate < liar.base
        features = np.array([message["features"] for message in streams], np.float32)
        learned = OnnxModel(file_of(sidecar.checkpoints, found[-1].version)).predict(features)
        assert np.abs(learned - OnnxModel(BASE_MODEL).predict(features)).mean() > 1
