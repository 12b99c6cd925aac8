"""The chart as it is installed by itself: a node's pod with the fake node in it."""

import json
from pathlib import Path

import pytest
import yaml

import pipeline
from pipeline import config
from pipeline.shm.segment import SHM_DIR
from tests.deploy.charts import (
    CHART,
    KUBERNETES,
    VALUES,
    check,
    environment,
    helm,
    of_kind,
    pod,
    render,
    shared_memory_mi,
    sidecar,
)
from tests.deploy.shm import MIB, report_bytes, sample_bytes

EXAMPLE = ("--values", CHART.parent / "values" / "example.yaml")
ENABLED = ("--set", "sidecar.trainer.enabled=true")
NOT_IN_THE_CHART = {"VMAFX_BASE_MODEL_PATH", "VMAFX_SIDECAR_CUDA"}


def values_files(path: Path) -> str:
    """Name a values file in a test's id."""
    return path.stem


@pytest.mark.parametrize("values", VALUES, ids=values_files)
def test_lint(values: Path) -> None:
    """Helm finds nothing to complain of, warnings included."""
    done = helm("lint", "--strict", CHART, "--values", values)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("kubernetes", KUBERNETES)
@pytest.mark.parametrize("values", VALUES, ids=values_files)
def test_valid(values: Path, kubernetes: str) -> None:
    """Every values file gives manifests that Kubernetes knows every field of."""
    check(render("--values", values, kubernetes=kubernetes), kubernetes)


def test_disabled_by_default() -> None:
    """Without being asked for, nothing at all is rendered."""
    assert render() == []


def test_native_where_the_cluster_has_it() -> None:
    """From Kubernetes 1.29 on the sidecar is an init container that restarts; before it, a plain container."""
    old, new = (pod(render(*EXAMPLE, kubernetes=version)) for version in ("1.28", "1.29"))
    assert [container["name"] for container in new["initContainers"]] == ["vmafx-sidecar"]
    assert new["initContainers"][0]["restartPolicy"] == "Always"
    assert "initContainers" not in old
    assert [container["name"] for container in old["containers"]] == ["fake-node", "vmafx-sidecar"]
    assert "restartPolicy" not in old["containers"][1]
    assert sidecar(new) == sidecar(old) | {"restartPolicy": "Always"}


def test_mode_can_be_chosen() -> None:
    """A cluster that says it has native sidecars can still be given a plain container."""
    assert "initContainers" not in pod(render(*EXAMPLE, "--set", "sidecar.trainer.mode=plain"))


def test_probes() -> None:
    """The kubelet asks where the monitor answers; no probe makes the node wait for the sidecar."""
    container = sidecar(pod(render(*EXAMPLE)))
    assert container["ports"] == [{"name": "vmafx-sidecar", "containerPort": 9091}]
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "vmafx-sidecar"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "vmafx-sidecar"}
    assert "startupProbe" not in container
    host, port = config.load(environment(container)).http or ("", 0)
    assert (host, port) == ("0.0.0.0", 9091)  # noqa: S104  inside the pod


def test_patience_before_a_kill() -> None:
    """The kubelet gives a hung process longer than the monitor does, which restarts that process alone."""
    container = sidecar(pod(render(*EXAMPLE)))
    probe, settings = container["livenessProbe"], config.load(environment(container))
    assert probe["periodSeconds"] * probe["failureThreshold"] > settings.hang_s


def test_mounts() -> None:
    """Only the socket's directory, the models and shared memory can be written, the models by the sidecar alone."""
    spec = pod(render(*EXAMPLE))
    node = spec["containers"][0]
    socket, models, memory = ("vmafx-socket", "vmafx-models", "vmafx-shared-memory")
    assert {volume["name"] for volume in spec["volumes"]} == {socket, models, memory}
    assert sidecar(spec)["volumeMounts"] == [
        {"name": socket, "mountPath": "/run/vmafx"},
        {"name": models, "mountPath": "/mnt/vmafx-models"},
        {"name": memory, "mountPath": str(SHM_DIR)},
    ]
    assert node["volumeMounts"] == [
        {"name": socket, "mountPath": "/run/vmafx"},
        {"name": models, "mountPath": "/mnt/vmafx-models", "readOnly": True},
    ]
    settings = config.load(environment(sidecar(spec)))
    assert settings.socket.parent == Path("/run/vmafx")
    assert settings.checkpoint_dir.is_relative_to("/mnt/vmafx-models")
    assert environment(node)["VMAFX_SIDECAR_SOCKET"] == str(settings.socket)
    assert environment(node)["VMAFX_SIDECAR_CHECKPOINT_DIR"] == str(settings.checkpoint_dir)


def test_restricted() -> None:
    """Both containers meet the `restricted` Pod Security Standard, on a root file system that cannot be written."""
    spec = pod(render(*EXAMPLE))
    for container in (sidecar(spec), spec["containers"][0]):
        context = container["securityContext"]
        assert context["runAsNonRoot"]
        assert context["runAsUser"] == 65532
        assert context["readOnlyRootFilesystem"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["fsGroup"] == 65532


def test_selectors() -> None:
    """The Service that the operator polls leads to the pod, ready or not, and to the port of the probes."""
    found = render(*EXAMPLE, "--set", "sidecar.trainer.name=edge-7")
    service, workload = of_kind(found, "Service"), of_kind(found, "Deployment")
    labels = workload["spec"]["template"]["metadata"]["labels"]
    assert service["metadata"]["name"] == "vmafx-trainer-edge-7"
    assert service["spec"]["selector"].items() <= labels.items()
    assert workload["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert service["spec"]["ports"] == [{"name": "http", "port": 9091, "targetPort": "vmafx-sidecar"}]
    assert service["spec"]["publishNotReadyAddresses"]


def test_one_writer() -> None:
    """Two pods never share a directory of checkpoints, not even during an update."""
    spec = of_kind(render(*EXAMPLE), "Deployment")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_end_has_time() -> None:
    """A pod's grace period exceeds what the processes take to stop one after the other."""
    assert pod(render(*EXAMPLE))["terminationGracePeriodSeconds"] > stop_seconds()


def stop_seconds() -> int:
    """Return how long supervisord waits for all processes in turn before it kills them."""
    lines = (CHART.parents[2] / "supervisord.conf").read_text().splitlines()
    return sum(int(line.partition("=")[2]) for line in lines if line.startswith("stopwaitsecs"))


def test_claim() -> None:
    """The models lie on a claim that outlives the release, or on one that exists."""
    found = render(*EXAMPLE)
    claim = of_kind(found, "PersistentVolumeClaim")
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    (volume,) = (volume for volume in pod(found)["volumes"] if volume["name"] == "vmafx-models")
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    other = render(*EXAMPLE, "--set", "sidecar.trainer.models.existingClaim=mine")
    assert "PersistentVolumeClaim" not in {document["kind"] for document in other}
    (volume,) = (volume for volume in pod(other)["volumes"] if volume["name"] == "vmafx-models")
    assert volume["persistentVolumeClaim"]["claimName"] == "mine"


@pytest.mark.parametrize("n_features", [6, 7, 80, 4096])
@pytest.mark.parametrize("capacity", [64, 10_000, 10_000_000])
def test_shared_memory_is_computed(n_features: int, capacity: int) -> None:
    """The limit of /dev/shm is the reserve and what the samples take by the program's own layouts, in whole MiB."""
    chosen = ("nFeatures", n_features), ("replayCapacity", capacity), ("reservoirCapacity", capacity)
    sets = [f"sidecar.trainer.settings.{name}={value}" for name, value in chosen]
    spec = pod(render(*ENABLED, *(word for pair in sets for word in ("--set", pair))))
    settings = config.load(environment(sidecar(spec)))
    assert (settings.n_features, settings.replay_capacity) == (n_features, capacity)
    rows = shared_memory_mi(spec) - 16
    assert rows - 1 <= sample_bytes(settings) / MIB <= rows + 1 / 16


def test_shared_memory_reserve() -> None:
    """The reserve covers the reports and log events many times over; what remains is the models'."""
    assert report_bytes() < MIB
    more = pod(render(*ENABLED, "--set", "sidecar.trainer.sharedMemory.reserveMi=64"))
    assert shared_memory_mi(more) - shared_memory_mi(pod(render(*ENABLED))) == 48


@pytest.mark.parametrize("values", VALUES, ids=values_files)
def test_settings_are_understood(values: Path) -> None:
    """Every variable that the chart sets is a setting of the program, with a value that it accepts."""
    variables = environment(sidecar(pod(render("--values", values))))
    assert config.unknown(variables) == []
    config.load(variables)


def test_values_keep_the_programs_defaults() -> None:
    """Values that the chart repeats from the program are the same there, but for those that it says are not."""
    variables = environment(sidecar(pod(render(*ENABLED))))
    here, program = config.load(variables), config.load({})
    differ = {entry.name for entry in config.variables() if getattr(here, entry.name) != getattr(program, entry.name)}
    assert differ == {"socket", "socket_mode", "http"}


def test_schema_has_every_setting() -> None:
    """Each setting of the program can be given as a value, under its name in camel case, and no other."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    trainer = schema["properties"]["sidecar"]["properties"]["trainer"]
    names = {entry.metadata["name"] for entry in config.variables()} - NOT_IN_THE_CHART
    assert set(trainer["properties"]["settings"]["properties"]) == {camel_case(name) for name in names}


def camel_case(variable: str) -> str:
    """Return the name of a variable's value: VMAFX_SIDECAR_BATCH_SIZE is batchSize."""
    first, *others = variable.removeprefix("VMAFX_SIDECAR_").lower().split("_")
    return first + "".join(word.capitalize() for word in others)


@pytest.mark.parametrize(
    ("mistake", "named"),
    [
        ("settings.replayCapcity=1", "replayCapcity"),
        ("settings.nFeatures=0", "settings.nFeatures"),
        ("mode=sidecar", "mode"),
        ("image.digest=sha256:1", "image.digest"),
        ("settings.http=0.0.0.0:80", "settings.http"),
        ("settings.checkpointDir=/data/online", "lies outside of modelsMountPath"),
    ],
)
def test_mistakes(mistake: str, named: str) -> None:
    """A value that cannot work is refused before anything reaches a cluster, by name."""
    done = helm("template", "example", CHART, *ENABLED, "--set", f"sidecar.trainer.{mistake}")
    assert done.returncode != 0
    assert named in done.stderr


def test_gpu() -> None:
    """The GPU's flag asks for one of the cluster's and tells the program to use it."""
    spec = pod(render(*ENABLED, "--set", "sidecar.trainer.gpu.enabled=true"))
    container = sidecar(spec)
    assert config.load(environment(container)).cuda
    assert container["resources"]["limits"] == {"memory": "1Gi", "nvidia.com/gpu": 1}
    assert not config.load(environment(sidecar(pod(render(*ENABLED))))).cuda


def test_image() -> None:
    """The image is of the chart's version; a digest takes precedence over a tag."""
    assert sidecar(pod(render(*EXAMPLE)))["image"] == f"vmafx-sidecar:{pipeline.__version__}"
    digest = "sha256:" + "0" * 64
    pinned = render(*EXAMPLE, "--set", f"sidecar.trainer.image.tag=x,sidecar.trainer.image.digest={digest}")
    assert sidecar(pod(pinned))["image"] == f"vmafx-sidecar@{digest}"


def test_version() -> None:
    """Chart and program are of one version."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == pipeline.__version__
