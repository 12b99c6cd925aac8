"""The image without torch, and what both images run."""

from pathlib import Path

import onnx
import pytest

from tests.deploy.containers.docker import Container, docker, start
from tests.deploy.containers.test_image import FINE_TUNING, VOLUMES, variables
from tests.support.graphs import elu
from tests.support.waiting import eventually

DATA = "/usr/share/vmafx-sidecar"
LIMIT = 250_000_000
"""Bytes of the one layer on top of the base image."""

RUNS = (
    "config",
    "status",
    "logs",
    "export",
    "checkpoints --json",
    "checkpoints show 1",
    "checkpoints diff 1 2",
    "pin 1",
    "unpin 1",
    "verify /mnt/vmafx-models/online/model_v000001.onnx",
    "fsck",
    f"registry list {DATA}",
    "correct status --codec libx264 --cache-dir /mnt/vmafx-models/corrections",
    f"corpus pack {DATA}/corpus.npz --stream bottle --judge cars -o /mnt/vmafx-models/packed.npz",
)
"""Commands that each image runs beside a sidecar; `run`, `feed` and `status --json` the tests need themselves."""

LACKS = {
    "demo --out /mnt/vmafx-models": "vmafx-sidecar[plot]",
    "plot": "vmafx-sidecar[plot]",
    f"evaluate {DATA}/base_model.onnx {DATA}/corpus.npz -o /mnt/vmafx-models/report": "vmafx-sidecar[plot]",
    "corpus build --smoke -o /mnt/vmafx-models/smoke.parquet": "vmafx-sidecar[corpus]",
}
"""Commands that neither image runs, and the extra that they name."""

TRAIN = f"train {DATA}/corpus.npz -o /mnt/vmafx-models/trained --epochs 1 --seeds 1"


@pytest.fixture(params=["image", "slim"])
def either(request: pytest.FixtureRequest) -> str:
    """Give each image."""
    name: str = request.getfixturevalue(request.param)
    return name


def test_size(slim: str) -> None:
    """What lies on top of the base image is one small layer, without torch."""
    sizes = docker("history", "--human=false", "--format", "{{.Size}} {{.CreatedBy}}", slim).stdout
    (size,) = [int(line.split()[0]) for line in sizes.splitlines() if " COPY " in line]
    assert size < LIMIT
    listed = docker("run", "--rm", "--entrypoint", "sh", slim, "-c", "ls /opt/*/lib/*/site-packages").stdout.split()
    assert "onnxruntime" in listed
    assert not {"torch", "sympy", "matplotlib", "pyarrow"} & set(listed)


def test_licence(either: str) -> None:
    """Its text is in the image."""
    shown = docker("run", "--rm", "--entrypoint", "sh", either, "-c", "cat /opt/*/lib/*/*/vmafx_*/licenses/LICENSE")
    assert "BSD 3-Clause" in shown.stdout


def test_every_command(either: str, slim: str, containers: list[Container]) -> None:
    """Beside a sidecar with a fixture each command of the page works, or names the extra or the image that has it."""
    settings = FINE_TUNING | {
        "VMAFX_SIDECAR_FIXTURE": f"{DATA}/corpus.npz",
        "VMAFX_SIDECAR_FIXTURE_TARGET": "vmaf_phone",
        "VMAFX_SIDECAR_MIN_SAMPLES_CKPT": "500",
    }
    sidecar = start(either, *VOLUMES, *variables(settings))
    containers.append(sidecar)
    assert eventually(lambda: sidecar.status().get("healthy"), explain=sidecar.logs)
    assert sidecar.run("vmafx-sidecar", "feed", "--samples", "2500", "--rate", "250").returncode == 0
    assert eventually(lambda: sidecar.status()["exporter"]["version"] >= 2, explain=sidecar.logs)
    assert '"fixture"' in sidecar.run("vmafx-sidecar", "checkpoints", "show", "1", "--json").stdout
    for line in RUNS:
        done = sidecar.run("vmafx-sidecar", *line.split())
        assert done.returncode == 0, (line, done.stderr)
    for line, extra in LACKS.items():
        done = sidecar.run("vmafx-sidecar", *line.split())
        assert (done.returncode, extra in "".join(done.stderr.split())) == (1, True), (line, done.stderr)
    trained = sidecar.run("vmafx-sidecar", *TRAIN.split())
    if either == slim:
        assert (trained.returncode, "the full image" in " ".join(trained.stderr.split())) == (1, True), trained.stderr
    else:
        assert trained.returncode == 0, trained.stderr


def test_a_graph_that_needs_torch(slim: str, containers: list[Container], tmp_path: Path) -> None:
    """The container ends as for any base model that it cannot use, and names the image that can."""
    tmp_path.chmod(0o755)
    onnx.save(elu(), tmp_path / "elu.onnx")
    settings = FINE_TUNING | {"VMAFX_BASE_MODEL_PATH": "/base/elu.onnx"}
    sidecar = start(slim, *VOLUMES, *variables(settings), "--volume", f"{tmp_path}:/base:ro")
    containers.append(sidecar)
    assert sidecar.wait() == 65, sidecar.logs()
    assert "or the full image" in sidecar.logs()
