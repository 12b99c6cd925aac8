"""A node's chart that includes `vmafx.sidecarContainer` and little else: it works, or says what is missing."""

import shutil
from pathlib import Path

import pytest

from tests.deploy.charts import CHART, KUBERNETES, check, of_kind, pod, refusal, render, sidecar

CONTAINER = '{{- include "vmafx.sidecarContainer" . | nindent 8 }}'
INIT = '{{- include "vmafx.sidecarInitContainer" . | nindent 8 }}'
VOLUMES = '{{- include "vmafx.sidecarVolumes" . | nindent 8 }}'
OWN_VOLUMES = """
        - {name: vmafx-socket, emptyDir: {}}
        - {name: vmafx-shared-memory, emptyDir: {medium: Memory}}
        - {name: vmafx-models, persistentVolumeClaim: {claimName: models}}
"""
WORKLOAD = """
apiVersion: apps/v1
kind: KIND
metadata:
  name: node
spec:
  MORE
  selector:
    matchLabels: {app: node}
  template:
    metadata:
      labels: {app: node}
    spec:
      containers:
        - name: node
          image: vmafx-node:1.0.0
        CONTAINER
      initContainers:
        INIT
      volumes:
        VOLUMES
"""


class NodeChart:
    """A chart with the sidecar's as its dependency, and templates of the test's."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "node"
        shutil.copytree(CHART, self.path / "charts" / CHART.name)
        (self.path / "templates").mkdir()
        (self.path / "Chart.yaml").write_text("apiVersion: v2\nname: node\nversion: 1.0.0\n")
        (self.path / "values.yaml").write_text("sidecar: {trainer: {enabled: true}}\n")

    def has(
        self, *, container: str = CONTAINER, init: str = "", volumes: str = "", kind: str = "Deployment", more: str = ""
    ) -> Path:
        """Write the pods of one more file of the chart; return the chart."""
        slots = {"CONTAINER": container, "INIT": init, "VOLUMES": volumes, "KIND": kind, "MORE": more}
        text = WORKLOAD
        for slot, content in slots.items():
            text = text.replace(slot, content)
        number = len(list((self.path / "templates").iterdir()))
        (self.path / "templates" / f"node{number}.yaml").write_text(text)
        return self.path


@pytest.fixture
def node(tmp_path: Path) -> NodeChart:
    """Return a node's chart without a template."""
    return NodeChart(tmp_path)


@pytest.mark.parametrize("volumes", [OWN_VOLUMES, VOLUMES], ids=["its own volumes", "our volumes"])
@pytest.mark.parametrize("kubernetes", KUBERNETES)
def test_alone_it_is_a_plain_container(node: NodeChart, kubernetes: str, volumes: str) -> None:
    """Without the init template it is an ordinary container on every version, with all the volumes it mounts."""
    found = render(chart=node.has(volumes=volumes), kubernetes=kubernetes)
    check(found, kubernetes)
    spec = pod(found)
    assert [container["name"] for container in spec["containers"]] == ["node", "vmafx-sidecar"]
    assert not spec["initContainers"]
    assert "restartPolicy" not in sidecar(spec)
    volumes_of_the_pod = {volume["name"] for volume in spec["volumes"]}
    assert {mount["name"] for mount in sidecar(spec)["volumeMounts"]} <= volumes_of_the_pod


@pytest.mark.parametrize("kubernetes", KUBERNETES)
def test_missing_volumes_are_named(node: NodeChart, kubernetes: str) -> None:
    """A pod without the volumes is refused here, not by a cluster: pod, volumes and the template that gives them."""
    said = refusal(chart=node.has(), kubernetes=kubernetes)
    assert "Deployment node: vmafx-sidecar mounts volumes that the pod does not have" in said
    assert "vmafx-socket, vmafx-models, vmafx-shared-memory" in said
    assert "vmafx.sidecarVolumes" in said


def test_missing_claim_template_is_named(node: NodeChart) -> None:
    """With a claim for each pod, what is missing is the StatefulSet's template."""
    own = ("--set", "sidecar.trainer.models.claim=perPod")
    said = refusal(*own, chart=node.has(volumes=VOLUMES, kind="StatefulSet"))
    assert "does not have: vmafx-models." in said
    assert "vmafx.sidecarClaimTemplates" in said


@pytest.mark.parametrize(("kubernetes", "native"), [("1.28", False), ("1.29", True)])
def test_native_where_both_templates_are(node: NodeChart, kubernetes: str, native: bool) -> None:
    """With both templates exactly one renders, whichever the chart names first."""
    spec = pod(render(chart=node.has(init=INIT, volumes=VOLUMES), kubernetes=kubernetes))
    names = [[container["name"] for container in spec[kind] or []] for kind in ("initContainers", "containers")]
    assert names == ([["vmafx-sidecar"], ["node"]] if native else [[], ["node", "vmafx-sidecar"]])


def test_files_do_not_see_each_other(node: NodeChart) -> None:
    """One workload with a native sidecar leaves another one's plain container alone."""
    node.has(init=INIT, volumes=VOLUMES, kind="DaemonSet")
    found = render(chart=node.has(volumes=VOLUMES))
    native, plain = (pod([of_kind(found, kind)]) for kind in ("DaemonSet", "Deployment"))
    assert sidecar(native)["restartPolicy"] == "Always"
    assert [container["name"] for container in plain["containers"]] == ["node", "vmafx-sidecar"]


def test_native_without_its_template_is_refused(node: NodeChart) -> None:
    """Who asks for a native sidecar and does not include it is told, rather than given nothing."""
    said = refusal("--set", "sidecar.trainer.mode=native", chart=node.has(volumes=VOLUMES))
    assert "no pod has vmafx.sidecarInitContainer" in said


def test_no_sidecar_no_demands(node: NodeChart) -> None:
    """Where it is disabled nothing is looked at."""
    (workload,) = render("--set", "sidecar.trainer.enabled=false", chart=node.has())
    assert [container["name"] for container in pod([workload])["containers"]] == ["node"]


def test_pods_of_a_deployment_have_folders(node: NodeChart) -> None:
    """Three pods of a Deployment on one claim, updated one by one, are a folder each: nothing to refuse."""
    chart = node.has(volumes=VOLUMES, more="replicas: 3")
    (mount,) = (m for m in sidecar(pod(render(chart=chart)))["volumeMounts"] if m["name"] == "vmafx-models")
    assert mount["subPathExpr"] == "$(POD_NAME)"


def test_pods_of_a_deployment_have_claims(node: NodeChart) -> None:
    """Where the pods are on several machines each can have a claim that comes and goes with it."""
    chart = node.has(volumes=VOLUMES, more="replicas: 3")
    found = render("--set", "sidecar.trainer.models.claim=ephemeral", chart=chart, kubernetes=KUBERNETES[0])
    check(found, KUBERNETES[0])
    (volume,) = (volume for volume in pod(found)["volumes"] if volume["name"] == "vmafx-models")
    assert volume["ephemeral"]["volumeClaimTemplate"]["spec"]["accessModes"] == ["ReadWriteOnce"]


@pytest.mark.parametrize(
    ("kind", "more", "reason"),
    [
        ("Deployment", "replicas: 3", "its pods would share the directory models.folder=mine"),
        ("DaemonSet", "", "its pods would share the directory models.folder=mine"),
        ("Deployment", "replicas: 1", "a rolling update would start the new pod while the old one holds the directory"),
    ],
)
def test_shared_directory_is_refused(node: NodeChart, kind: str, more: str, reason: str) -> None:
    """A folder that is not the pod's own is refused where two pods could have it at once."""
    chart = node.has(volumes=VOLUMES, kind=kind, more=more)
    assert reason in refusal("--set", "sidecar.trainer.models.folder=mine", chart=chart)


def test_fixed_folder_of_one_pod(node: NodeChart) -> None:
    """The only pod of a Deployment that is replaced only when it is gone may keep its folder."""
    chart = node.has(volumes=VOLUMES, more="strategy: {type: Recreate}")
    (mount,) = (
        m
        for m in sidecar(pod(render("--set", "sidecar.trainer.models.folder=mine", chart=chart)))["volumeMounts"]
        if m["name"] == "vmafx-models"
    )
    assert mount["subPathExpr"] == "mine"


def test_several_pods_need_one_that_answers(node: NodeChart) -> None:
    """A StatefulSet of several pods is refused until it is said which of them answers the operator."""
    chart = node.has(volumes=VOLUMES, kind="StatefulSet", more="replicas: 3\n  serviceName: node")
    assert "service.pod to the pod that answers for the training: node-0" in refusal(chart=chart)
    assert render("--set", "sidecar.trainer.service.pod=node-0", chart=chart)
