"""The image by itself, confined as in compose.yaml."""

from functools import partial
from pathlib import Path

import onnx
import pytest

import pipeline
from tests.deploy.containers.docker import Container, docker, start
from tests.support.graphs import gemm, layers, model, node, perceptron
from tests.support.waiting import eventually

VOLUMES = ("--volume", "/run/vmafx", "--volume", "/mnt/vmafx-models")
FINE_TUNING = {
    "VMAFX_BASE_MODEL_PATH": "/usr/share/vmafx-sidecar/base_model.onnx",
    "VMAFX_SIDECAR_N_FEATURES": "6",
    "VMAFX_SIDECAR_CKPT_INTERVAL_S": "3",
    "VMAFX_SIDECAR_STATE_INTERVAL_S": "1",
}


def variables(settings: dict[str, str]) -> tuple[str, ...]:
    """Return the options that give a container its settings."""
    return tuple(word for name, value in settings.items() for word in ("--env", f"{name}={value}"))


@pytest.mark.parametrize(
    ("code", "options"),
    [
        (78, ("--env", "VMAFX_SIDECAR_LR=fast")),
        (65, ("--env", "VMAFX_BASE_MODEL_PATH=/etc/hostname")),
        (71, ("--env", "VMAFX_SIDECAR_REPLAY_CAPACITY=1000000")),
    ],
    ids=["bad settings", "unusable base model", "shared memory too small"],
)
def test_beyond_restart(image: str, containers: list[Container], code: int, options: tuple[str, ...]) -> None:
    """What no restart can mend ends the container with its code, and says in a line what it was."""
    container = start(image, *VOLUMES, *options)
    containers.append(container)
    assert container.wait() == code, container.logs()
    assert options[1].partition("=")[0] in container.logs()
    assert "Traceback" not in container.logs()


def test_gives_up(image: str, containers: list[Container]) -> None:
    """A process that dies at every start, for no reason that it can tell, ends the container with code 70."""
    container = start(image, *VOLUMES)
    containers.append(container)
    assert eventually(lambda: container.status().get("healthy"))
    kill = "grep -qsa pipeline[.]trainer $p/cmdline && kill -9 ${p#/proc/}"
    docker(
        "exec", "--detach", container.name, "sh", "-c", f"while true; do for p in /proc/[0-9]*; do {kill}; done; done"
    )
    assert container.wait() == 70, container.logs()


@pytest.mark.parametrize("init", [(), ("--init",)], ids=["process 1", "behind an init"])
def test_stops_on_request(image: str, containers: list[Container], init: tuple[str, ...]) -> None:
    """`docker stop` ends it with code 0 well before it is killed, as process 1 and as an init's child."""
    container = start(image, *VOLUMES, *init)
    containers.append(container)
    assert eventually(lambda: container.status().get("healthy"))
    docker("stop", "--time", "40", container.name)
    assert container.inspect()["State"]["ExitCode"] == 0, container.logs()


def test_health_check(image: str, containers: list[Container]) -> None:
    """Docker's health check passes, and fails where a process hangs that nobody restarts."""
    container = start(image, *VOLUMES, "--health-interval", "1s")
    containers.append(container)
    assert eventually(container.is_healthy, explain=container.logs)
    assert container.run("vmafx-sidecar", "status", "--json").returncode == 0
    container.run("sh", "-c", f"kill -STOP {container.role('trainer')['pid']}")
    assert eventually(lambda: container.run("vmafx-sidecar", "status", "--json").returncode == 1)


def test_goes_on_without_a_disk(image: str, containers: list[Container]) -> None:
    """With nowhere to write checkpoints it takes samples all the same, and says what is wrong."""
    container = start(image, "--tmpfs", "/run/vmafx:uid=65532")
    containers.append(container)
    assert eventually(lambda: container.status().get("ingest", {}).get("phase") == "accepting")
    assert eventually(lambda: "Read-only file system" in container.status()["exporter"]["problem"])


@pytest.mark.parametrize("user", ["1000680000:0", "1000680000:1000680000"])
def test_any_user(image: str, containers: list[Container], tmp_path: Path, user: str) -> None:
    """A user whom the image does not know, as OpenShift assigns them, trains and publishes."""
    for name in ("run", "models"):
        place = tmp_path / name
        place.mkdir()
        place.chmod(0o777)
    writable = ("--volume", f"{tmp_path}/run:/run/vmafx", "--volume", f"{tmp_path}/models:/mnt/vmafx-models")
    volumes = VOLUMES if user.endswith(":0") else writable
    tmp_path.chmod(0o755)
    container = start(image, *volumes, "--user", user, *variables(FINE_TUNING))
    containers.append(container)
    assert eventually(lambda: container.status().get("healthy"))
    fed = container.run("vmafx-sidecar", "feed", "--samples", "1500", "--rate", "500")
    assert fed.returncode == 0, fed.stderr
    assert eventually(lambda: container.status()["exporter"]["version"] > 0, explain=container.logs)
    assert container.run("vmafx-sidecar", "fsck").returncode == 0


def test_base_model_of_a_config_map(image: str, containers: list[Container], tmp_path: Path) -> None:
    """A model, and weights in a file beside it, are read through the links that a mounted ConfigMap consists of."""
    data = tmp_path / "..2026_11_21"
    data.mkdir()
    outside = partial(onnx.save, save_as_external_data=True, location="base.onnx.data", size_threshold=0)
    outside(perceptron(), data / "base.onnx")
    (tmp_path / "..data").symlink_to(data.name)
    for name in ("base.onnx", "base.onnx.data"):
        (tmp_path / name).symlink_to(f"..data/{name}")
        (data / name).chmod(0o644)
    for place in (tmp_path, data):
        place.chmod(0o755)
    given = FINE_TUNING | {"VMAFX_BASE_MODEL_PATH": "/base-model/base.onnx"}
    container = start(image, *VOLUMES, *variables(given), "--volume", f"{tmp_path}:/base-model:ro")
    containers.append(container)
    assert eventually(
        lambda: container.status().get("trainer", {}).get("base_model") == "base.onnx", explain=container.logs
    )
    assert eventually(lambda: container.status().get("healthy"), explain=container.logs)


def test_full_disk(image: str, containers: list[Container]) -> None:
    """On a volume that is full it takes samples and says so; nothing that a reader could find is half written."""
    models = ("--tmpfs", "/mnt/vmafx-models:uid=65532,size=200k")
    container = start(image, "--volume", "/run/vmafx", *models, *variables(FINE_TUNING))
    containers.append(container)
    assert eventually(lambda: container.status().get("healthy"))
    fed = container.run("vmafx-sidecar", "feed", "--samples", "3000", "--rate", "1000")
    assert "accepted 3000, refused 0" in fed.stdout + fed.stderr
    assert eventually(
        lambda: "No space left on device" in container.status()["exporter"]["problem"], explain=container.logs
    )
    assert eventually(lambda: container.status()["exporter"]["failures"].get("disk", 0) > 0)


def test_trains_with_torch(image: str, containers: list[Container], tmp_path: Path) -> None:
    """What the image leaves out of torch is nothing that training of an arbitrary graph needs."""
    nodes = [
        gemm("hidden", "features", "w0", "b0", transB=1),
        node("Elu", ["hidden"], "active"),
        gemm("last", "active", "w1", "b1", output="score", transB=1),
    ]
    tmp_path.chmod(0o755)
    onnx.save(model(nodes, layers()), tmp_path / "elu.onnx")
    settings = FINE_TUNING | {"VMAFX_BASE_MODEL_PATH": "/base/elu.onnx", "VMAFX_SIDECAR_OPTIMIZER": "adam"}
    container = start(image, *VOLUMES, *variables(settings), "--volume", f"{tmp_path}:/base:ro")
    containers.append(container)
    assert eventually(lambda: container.status().get("healthy"))
    fed = container.run("vmafx-sidecar", "feed", "--samples", "300", "--rate", "1000")
    assert fed.returncode == 0, fed.stderr
    assert eventually(lambda: container.status()["trainer"]["step"] > 0, explain=container.logs)
    assert container.status()["trainer"]["learner"] == "TorchLearner"


def test_holds_only_what_runs(image: str) -> None:
    """There is no compiler, no package of tests, and no installer beside the program."""
    shell = ("run", "--rm", "--network", "none", "--entrypoint", "sh", image, "-c")
    listed = docker(*shell, "ls /opt/*/lib/*/site-packages /opt/*/bin")
    assert "torch" in listed.stdout.split()
    assert not {"pytest", "pip", "matplotlib", "ruff", "helm"} & set(listed.stdout.split())
    assert docker(*shell, "command -v cc gcc").stdout == ""


def test_label(image: str) -> None:
    """The image says which version it is, and is that."""
    found = docker("inspect", "--format", '{{index .Config.Labels "org.opencontainers.image.version"}}', image)
    assert found.stdout.strip() == pipeline.__version__
    said = docker("run", "--rm", "--network", "none", image, "--version")
    assert said.stdout.strip().endswith(pipeline.__version__)
