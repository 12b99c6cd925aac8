"""A whole sidecar that takes a pool's models: exporter, trainer and commands are real, as are server and registry."""

import signal
import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.checkpoints import checkpoint
from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.model.default_network import two_layer
from pipeline.model.graph import BaseModel, load_base_model
from tests.support.nats import NatsServer
from tests.support.pool import Pool
from tests.support.sidecar import COMMAND, QUICK, Sidecar, running
from tests.support.stream import Stream

pytestmark = pytest.mark.processes

Weights = npt.NDArray[np.float32]


@pytest.fixture
def base(tmp_path: Path) -> BaseModel:
    """Give a base model that knows nothing of what is streamed."""
    path = tmp_path / "base.onnx"
    path.write_bytes(two_layer(6, hidden=8, seed=1).SerializeToString())
    return load_base_model(path)


@pytest.fixture
def learned(tmp_path: Path, base: BaseModel) -> Weights:
    """Learn from the stream in a sidecar of its own; give the weights of its newest stable checkpoint."""
    place = tmp_path / "elsewhere"
    place.mkdir()
    with running(place, **QUICK, VMAFX_BASE_MODEL_PATH=str(tmp_path / "base.onnx")) as sidecar:
        with Stream(sidecar):
            sidecar.wait_for(lambda: sidecar.reported().exporter.stable_version > 0)
        assert base.digest == sidecar.reported().trainer.base_digest
        return load_base_model(sidecar.checkpoints / "latest-stable.onnx").vector()


def newest(sidecar: Sidecar) -> Checkpoint:
    """Return the newest checkpoint."""
    known, _ = checkpoint.read_all(sidecar.checkpoints)
    return known[max(known)]


def test_a_pools_model_is_judged_here(tmp_path: Path, server: NatsServer, base: BaseModel, learned: Weights) -> None:
    """A good one is stable, and the training starts from it; a bad one is refused; one rolled back does not return."""
    settings = QUICK | {
        "VMAFX_BASE_MODEL_PATH": str(tmp_path / "base.onnx"),
        "VMAFX_SIDECAR_CKPT_INTERVAL_S": "3600",  # nothing of its own
        "VMAFX_SIDECAR_LR": "1e-9",
        "VMAFX_FLEET_URL": server.url,
        "VMAFX_FLEET_NODE": "one",
        "VMAFX_FLEET_REGISTRY_URL": (tmp_path / "share").as_uri(),
    }
    with Pool(tmp_path, server, base) as pool, running(tmp_path, **settings) as sidecar, Stream(sidecar):
        good = pool.push(learned)
        pool.announce()
        sidecar.wait_for(lambda: sidecar.reported().exporter.stable_version == 1)
        assert newest(sidecar).origin == f"{pool.share.as_uri()}@{good}"
        uplink = sidecar.reported().uplink
        assert (uplink.announced, uplink.offered) == (good, good)
        pid = sidecar.signal("uplink", signal.SIGKILL)  # the next life does not offer it again
        sidecar.wait_for(lambda: sidecar.pid("uplink") != pid and sidecar.reported().uplink.announced == good)
        sidecar.wait_for(lambda: '"event": "reset"' in sidecar.log())
        held_out = "held_out_live_rmse", "held_out_base_rmse"
        sidecar.wait_for(
            lambda: (
                (now := sidecar.reported().trainer.metrics)
                and now.get(held_out[0], np.inf) < 0.95 * now.get(held_out[1], 0)
            )
        )
        command = [*COMMAND, "checkpoints", "--directory", str(sidecar.checkpoints), "show", "1"]
        shown = subprocess.run(command, capture_output=True, check=True, text=True).stdout
        assert f"{pool.share.as_uri()}@{good}" in "".join(shown.split())
        assert sidecar.reported().exporter.offer.startswith("version 1: ")

        bad = pool.push(learned * np.float32(-1))
        pool.announce()
        sidecar.wait_for(lambda: bad in sidecar.reported().exporter.offer)
        assert sidecar.reported().exporter.offer.startswith("refused: ")
        assert sidecar.reported().exporter.offers == {"taken": 1, "refused": 1}
        assert sidecar.reported().roles["uplink"].problem == ""
        assert newest(sidecar).version == 1
        assert bad in sidecar.log()

        assert sidecar.command("rollback").returncode == 0
        again = pool.push(learned)
        pool.announce()
        sidecar.wait_for(lambda: again in sidecar.reported().exporter.offer)
        assert "has withdrawn" in sidecar.reported().exporter.offer
        assert sidecar.reported().exporter.stable_version == 0
        assert newest(sidecar).version == 1
