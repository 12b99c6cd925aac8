"""The chart as it is installed by itself: a node's pod with the fake node in it."""

import base64
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
    Object,
    check,
    environment,
    helm,
    named,
    of_kind,
    pod,
    refusal,
    render,
    shared_memory_mi,
    sidecar,
)
from tests.deploy.shm import MIB, report_bytes, sample_bytes

EXAMPLE = ("--values", CHART.parent / "values" / "example.yaml")
ENABLED = ("--set", "sidecar.trainer.enabled=true,sidecar.trainer.settings.nFeatures=6")
POOL = "vmafx-pool-example"
NOT_IN_THE_CHART = {
    "VMAFX_REGISTRY_URL",
    "VMAFX_REGISTRY_SIGN_KEY",
    "VMAFX_REGISTRY_PUBLIC_KEY",
    "VMAFX_BASE_MODEL_PATH",
    "VMAFX_SIDECAR_CUDA",
    "VMAFX_POOL",
} | {entry.metadata["name"] for entry in config.variables() if entry.name.startswith("fleet")}
"""What is no value of `settings`: it has a value of its own, or comes by extraEnv."""


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
    """The kubelet asks where the monitor answers; no probe makes the node wait, or takes it out of service."""
    container = sidecar(pod(render(*EXAMPLE)))
    assert container["ports"] == [{"name": "vmafx-sidecar", "containerPort": 9091}]
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "vmafx-sidecar"}
    assert not {"readinessProbe", "startupProbe"} & container.keys()
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
    socket, models, memory, base = ("vmafx-socket", "vmafx-models", "vmafx-shared-memory", "vmafx-base-model")
    assert {volume["name"] for volume in spec["volumes"]} == {socket, memory, base}
    folder = {"name": models, "mountPath": "/mnt/vmafx-models", "subPathExpr": "$(POD_NAME)"}
    assert sidecar(spec)["volumeMounts"] == [
        {"name": socket, "mountPath": "/run/vmafx"},
        folder,
        {"name": memory, "mountPath": str(SHM_DIR)},
        {"name": base, "mountPath": "/base-model", "readOnly": True},
    ]
    assert node["volumeMounts"] == [
        {"name": socket, "mountPath": "/run/vmafx"},
        folder | {"readOnly": True},
        {"name": base, "mountPath": "/base-model", "readOnly": True},
    ]
    for container in (sidecar(spec), node):
        assert container["env"][0] == {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
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


def test_the_operator_has_one_answer() -> None:
    """The Service that the operator polls leads to one pod, ready or not, and to the port of the probes."""
    found = render(*EXAMPLE, "--set", "sidecar.trainer.name=edge-7,example.replicas=3")
    service, workload = named(found, "vmafx-trainer-edge-7"), of_kind(found, "StatefulSet")
    labels = workload["spec"]["template"]["metadata"]["labels"]
    first = {"statefulset.kubernetes.io/pod-name": f"{workload['metadata']['name']}-0"}
    assert service["spec"]["selector"] == labels | first
    assert workload["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert service["spec"]["ports"] == [{"name": "http", "port": 9091, "targetPort": "vmafx-sidecar"}]
    assert service["spec"]["publishNotReadyAddresses"]
    assert service["spec"]["sessionAffinity"] == "ClientIP"


def test_each_pod_has_a_name() -> None:
    """A second Service, without an address of its own, leads to every pod by its name."""
    found = render(*EXAMPLE)
    service, workload = named(found, "vmafx-trainer-example-pods"), of_kind(found, "StatefulSet")
    assert workload["spec"]["serviceName"] == service["metadata"]["name"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"]
    assert service["spec"]["selector"] == workload["spec"]["template"]["metadata"]["labels"]


def test_one_writer() -> None:
    """Pods have claims of their own, and folders with their names in them; shared memory is named by the pod's id."""
    spec = of_kind(render(*EXAMPLE, "--set", "example.replicas=3"), "StatefulSet")["spec"]
    (template,) = spec["volumeClaimTemplates"]
    assert spec["replicas"] == 3
    assert template["metadata"] == {"name": "vmafx-models"}
    (mount,) = (each for each in sidecar(spec["template"]["spec"])["volumeMounts"] if each["name"] == "vmafx-models")
    assert mount["subPathExpr"] == "$(POD_NAME)"
    identity = {"name": "VMAFX_SIDECAR_INSTANCE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}
    assert identity in sidecar(spec["template"]["spec"])["env"]


def test_end_has_time() -> None:
    """A pod's grace period is what docs/deployment.md asks for: more than the processes take to stop in turn."""
    assert pod(render(*EXAMPLE))["terminationGracePeriodSeconds"] == 50 > stop_seconds()


def stop_seconds() -> int:
    """Return how long supervisord waits for all processes in turn before it kills them."""
    lines = (CHART.parents[2] / "supervisord.conf").read_text().splitlines()
    return sum(int(line.partition("=")[2]) for line in lines if line.startswith("stopwaitsecs"))


def test_claim() -> None:
    """Without claims for each pod, the models lie on one that outlives the release, or on one that exists."""
    found = render(*ENABLED)
    claim = of_kind(found, "PersistentVolumeClaim")
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    (volume,) = (volume for volume in pod(found)["volumes"] if volume["name"] == "vmafx-models")
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    other = render(*ENABLED, "--set", "sidecar.trainer.models.existingClaim=mine")
    assert "PersistentVolumeClaim" not in {document["kind"] for document in other}
    (volume,) = (volume for volume in pod(other)["volumes"] if volume["name"] == "vmafx-models")
    assert volume["persistentVolumeClaim"]["claimName"] == "mine"


def test_base_model_comes_with_the_chart() -> None:
    """A file of the chart is in the pod as it was, where the program and the node look for it."""
    found = render(*EXAMPLE)
    model = of_kind(found, "ConfigMap")
    content = base64.b64decode(model["binaryData"]["base_model.onnx"])
    assert content == (CHART / "files" / "base_model.onnx").read_bytes()
    spec = pod(found)
    assert {"name": "vmafx-base-model", "configMap": {"name": model["metadata"]["name"]}} in spec["volumes"]
    for container in (sidecar(spec), spec["containers"][0]):
        assert environment(container)["VMAFX_BASE_MODEL_PATH"] == "/base-model/base_model.onnx"


def test_base_model_from_a_config_map() -> None:
    """A ConfigMap that exists is mounted at the same place, and none is made."""
    given = "baseModel.configMap=vmaf-tiny,sidecar.trainer.baseModelPath=/base-model/vmaf_tiny_v2.onnx"
    found = render(*ENABLED, "--set", f"sidecar.trainer.{given}")
    assert "ConfigMap" not in {document["kind"] for document in found}
    assert {"name": "vmafx-base-model", "configMap": {"name": "vmaf-tiny"}} in pod(found)["volumes"]
    assert environment(sidecar(pod(found)))["VMAFX_BASE_MODEL_PATH"] == "/base-model/vmaf_tiny_v2.onnx"


def test_user_can_be_left_to_the_cluster() -> None:
    """With runAsUser 0 no user, group or volume's group is named; everything else is as strict as before."""
    strict, left = (pod(render(*EXAMPLE, "--set", f"sidecar.trainer.runAsUser={user}")) for user in (65532, 0))
    assert "securityContext" not in left
    for name in ("fake-node", "vmafx-sidecar"):
        with_user, without = (container_of(spec, name)["securityContext"] for spec in (strict, left))
        assert with_user == without | {"runAsUser": 65532, "runAsGroup": 65532}
        assert without["runAsNonRoot"]


def container_of(spec: Object, name: str) -> Object:
    """Return a container by its name."""
    (found,) = (each for each in spec.get("initContainers", []) + spec["containers"] if each["name"] == name)
    return dict(found)


def test_extras() -> None:
    """Variables, volumes and mounts of an operator's own stand beside those of the chart."""
    extras: dict[str, list[Object]] = {
        "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
        "extraVolumes": [{"name": "base", "image": {"reference": "registry.example.com/vmaf:2"}}],
        "extraVolumeMounts": [{"name": "base", "mountPath": "/base", "readOnly": True}],
    }
    example = {"podLabels": {"team": "video"}, "podAnnotations": {"note": "x"}, "priorityClassName": "encoders"}
    sets: tuple[str, ...] = ("--set-json", "example=" + json.dumps(example))
    sets += tuple(
        word for name, value in extras.items() for word in ("--set-json", f"sidecar.trainer.{name}={json.dumps(value)}")
    )
    found = render(*EXAMPLE, *sets)
    check(found, KUBERNETES[-1])
    spec, template = pod(found), of_kind(found, "StatefulSet")["spec"]["template"]
    container = sidecar(spec)
    assert extras["extraEnv"][0] in container["env"]
    assert extras["extraVolumes"][0] in spec["volumes"]
    assert extras["extraVolumeMounts"][0] in container["volumeMounts"]
    assert template["metadata"]["labels"]["team"] == "video"
    assert template["metadata"]["annotations"] == {"note": "x"}
    assert spec["priorityClassName"] == "encoders"


@pytest.mark.parametrize("values", VALUES, ids=values_files)
def test_fake_node_and_sidecar_agree(values: Path) -> None:
    """No values file puts the fake node, which sends 6 features, beside a sidecar that expects more."""
    assert config.load(environment(sidecar(pod(render("--values", values))))).n_features == 6
    more = "sidecar.trainer.enabled=true,sidecar.trainer.settings.nFeatures=80"
    assert "the fake node sends 6 features" in refusal("--values", values, "--set", more)


def test_shared_memory_reserve() -> None:
    """The reserve covers the reports and log events many times over; what remains is the models'."""
    assert report_bytes() < MIB
    more = pod(render(*ENABLED, "--set", "sidecar.trainer.sharedMemory.reserveMi=64"))
    assert shared_memory_mi(more) - shared_memory_mi(pod(render(*ENABLED))) == 48


def test_with_an_archive() -> None:
    """Its directory is in the pod's folder of the models' volume, and /dev/shm has room for its buffer."""
    more = {"archiveDir": "/mnt/vmafx-models/archive", "archiveBufferBytes": str(2 * 67108864), "archiveDays": "30"}
    given = ",".join(f"sidecar.trainer.settings.{name}={value}" for name, value in more.items())
    without, found = pod(render(*ENABLED)), pod(render(*ENABLED, "--set", given))
    settings = config.load(environment(sidecar(found)))
    assert (settings.archive_dir, settings.archive_days) == (Path(more["archiveDir"]), 30)
    assert shared_memory_mi(found) - shared_memory_mi(without) == settings.archive_buffer_bytes // MIB
    mounted = {Path(each["mountPath"]) for each in sidecar(found)["volumeMounts"] if not each.get("readOnly")}
    assert Path(more["archiveDir"]).parent in mounted
    check(render(*ENABLED, "--set", given), KUBERNETES[-1])


@pytest.mark.parametrize("values", VALUES, ids=values_files)
def test_settings_are_understood(values: Path) -> None:
    """Every variable that the chart sets is a setting of the program, with a value that it accepts."""
    variables = environment(sidecar(pod(render("--values", values))))
    assert config.unknown(variables) == []
    config.load(variables)


def test_values_keep_the_programs_defaults() -> None:
    """Values that the chart repeats from the program are the same there, but for those that it says, and 6 features."""
    variables = environment(sidecar(pod(render(*ENABLED))))
    here, program = config.load(variables), config.load({})
    differ = {entry.name for entry in config.variables() if getattr(here, entry.name) != getattr(program, entry.name)}
    assert differ == {"socket", "socket_mode", "http", "n_features"}


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
    ("mistake", "named_in_it"),
    [
        ("settings.replayCapcity=1", "replayCapcity"),
        ("settings.nFeatures=0", "settings.nFeatures"),
        ("mode=sidecar", "mode"),
        ("image.digest=sha256:1", "image.digest"),
        ("settings.http=0.0.0.0:80", "settings.http"),
        ("settings.checkpointDir=/data/online", "lies outside of modelsMountPath"),
        ("models.folder=/data", "models.folder"),
        ("baseModel.files={nothing.onnx}", "has no file nothing.onnx"),
        ("baseModel.configMap=vmaf-tiny", "set baseModelPath"),
    ],
)
def test_mistakes(mistake: str, named_in_it: str) -> None:
    """A value that cannot work is refused before anything reaches a cluster, by name."""
    assert named_in_it in refusal(*ENABLED, "--set", f"sidecar.trainer.{mistake}")


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


def test_a_node_of_a_fleet() -> None:
    """Each pod has its own name in the fleet, and of all keys it sees that of this name."""
    found = pod(render("--values", CHART.parent / "values" / "fleet.yaml"))
    container = sidecar(found)
    settings = config.load(environment(container) | {"VMAFX_FLEET_NODE": "vmafx-trainer-example-0"})
    assert (settings.fleet, settings.fleet_tenant, settings.has_uplink) == (("tls://nats:4222",), "default", True)
    assert str(settings.fleet_registry) == "oci://registry.example.com/vmaf/pool"
    assert {"name": "VMAFX_FLEET_NODE", "value": "$(POD_NAME)"} in container["env"]
    mounts = {each["mountPath"]: each for each in container["volumeMounts"] if each["name"] == "vmafx-fleet"}
    assert mounts[str(settings.fleet_key)]["subPathExpr"] == "$(POD_NAME).nk"
    assert mounts[str(settings.fleet_ca)]["subPath"] == "ca.pem"
    assert len(mounts) == 2
    (volume,) = (each for each in found["volumes"] if each["name"] == "vmafx-fleet")
    assert volume["secret"]["secretName"] == "vmafx-fleet-nodes"
    alone = pod(render(*ENABLED, "--set", "sidecar.fleet.keySecret="))
    assert not [name for name in environment(sidecar(alone)) if "FLEET" in name]


def test_the_pool_of_a_fleet() -> None:
    """One pod with a claim, memory for more samples, its own key, and no socket."""
    found = render("--values", CHART.parent / "values" / "pool.yaml")
    workload, spec = of_kind(found, "StatefulSet")["spec"], pod(found)
    container = sidecar(spec)
    settings = config.load(environment(container) | {"VMAFX_POOL": "pool"})
    assert (workload["replicas"], container["args"]) == (1, ["pool", "run", "--name", "pool"])
    assert not [name for name in environment(container) if "SOCKET" in name]
    own = config.load({"VMAFX_POOL": "pool"})
    for name in ("replay_capacity", "reservoir_capacity", "holdout_capacity"):
        assert getattr(settings, name) == getattr(own, name)
    assert shared_memory_mi(spec) * MIB > sample_bytes(settings) + report_bytes()
    assert (settings.n_features, settings.fleet_replicas, str(settings.registry)) == (
        6, 3, "oci://registry.example.com/vmaf/pool"
    )  # fmt: skip
    mounts = {each["mountPath"]: each for each in container["volumeMounts"]}
    assert mounts[str(settings.fleet_key)]["subPathExpr"] == "pool.nk"
    assert str(settings.fleet_ca) in mounts
    (claim,) = workload["volumeClaimTemplates"]
    assert mounts["/mnt/vmafx-models"]["name"] == claim["metadata"]["name"]
    assert config.unknown(environment(container)) == []
    assert of_kind(found, "Service")["spec"]["selector"].items() <= workload["template"]["metadata"]["labels"].items()


def test_a_pool_beside_encoders_has_its_base_model() -> None:
    """Both ends in one release: one ConfigMap, two StatefulSets."""
    sets = "sidecar.fleet.url=nats://nats:4222,pool.enabled=true"
    for enabled in ("true", "false"):
        found = render(*EXAMPLE, "--set", f"{sets},sidecar.trainer.enabled={enabled}")
        model = of_kind(found, "ConfigMap")["metadata"]["name"]
        (workload,) = (each for each in found if (each["kind"], each["metadata"]["name"]) == ("StatefulSet", POOL))
        spec = workload["spec"]["template"]["spec"]
        assert {"name": "vmafx-base-model", "configMap": {"name": model}} in spec["volumes"]
        assert config.load(environment(spec["containers"][0])).fleet_ca is None


@pytest.mark.parametrize(
    ("mistake", "named_in_it"),
    [
        ("pool.enabled=true", "sidecar.fleet.url"),
        ("sidecar.fleet.url=http://nats", "fleet.url"),
        ("sidecar.fleet.tenant=a.b", "fleet.tenant"),
        ("sidecar.fleet.node=a/b", "fleet.node"),
        ("pool.replicas=0", "pool.replicas"),
    ],
)
def test_mistakes_about_a_fleet(mistake: str, named_in_it: str) -> None:
    """Are refused by name, too."""
    assert named_in_it.split(".")[-1] in refusal(*ENABLED, "--set", mistake)


def test_a_registry_and_its_credentials() -> None:
    """The URL as a variable, credentials as files or variables from Secrets; the base model by the same URLs."""
    values = {
        "registry.url": "oci://r.example/m",
        "registry.dockerConfigSecret": "pull",
        "registry.environmentSecret": "keys",
        "registry.signKeySecret": "signs",
        "registry.publicKeyConfigMap": "trusted",
        "baseModelPath": "oci://r.example/base:v1",
    }
    options = [text for name, value in values.items() for text in ("--set", f"sidecar.trainer.{name}={value}")]
    found = pod(render(*ENABLED, *options))
    variables = environment(sidecar(found))
    assert str(config.load(variables).registry) == "oci://r.example/m"
    assert str(config.load(variables).base_model) == "oci://r.example/base:v1"
    assert sidecar(found)["envFrom"] == [{"secretRef": {"name": "keys"}}]
    mounts = {each["mountPath"]: each for each in sidecar(found)["volumeMounts"]}
    volumes = {each["name"]: each for each in found["volumes"]}
    docker, signs, trusted = (
        volumes[mounts[place]["name"]]
        for place in (
            variables["DOCKER_CONFIG"],
            str(Path(variables["VMAFX_REGISTRY_SIGN_KEY"]).parent),
            str(Path(variables["VMAFX_REGISTRY_PUBLIC_KEY"]).parent),
        )
    )
    assert docker["secret"]["secretName"] == "pull"
    assert signs["secret"] == {"secretName": "signs"}
    assert trusted["configMap"] == {"name": "trusted"}
    assert all(mounts[place]["readOnly"] for place in mounts if place.startswith("/registry-"))
    assert not [each for each in found["containers"][0]["volumeMounts"] if "registry" in each["name"]]
