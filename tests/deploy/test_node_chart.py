"""A node's own chart that takes the sidecar in, as docs/deployment.md says."""

import shutil
from pathlib import Path

import pytest

from pipeline import config
from tests.deploy.charts import CHART, KUBERNETES, check, environment, of_kind, pod, render, sidecar

NODE_CHART = Path(__file__).parent / "node_chart"
DISABLED = ("--set", "sidecar.trainer.enabled=false")


@pytest.fixture(scope="module")
def node_chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the node's chart with this one as its dependency, as `helm dependency update` leaves it."""
    chart = tmp_path_factory.mktemp("chart") / "vmafx-node"
    shutil.copytree(NODE_CHART, chart)
    shutil.copytree(CHART, chart / "charts" / CHART.name)
    return chart


@pytest.mark.parametrize("kubernetes", KUBERNETES)
def test_valid(node_chart: Path, kubernetes: str) -> None:
    """The node's pod with the sidecar in it is valid."""
    found = render(chart=node_chart, kubernetes=kubernetes)
    check(found, kubernetes)
    assert {document["kind"] for document in found} == {"StatefulSet", "Service", "PersistentVolumeClaim"}


def test_nothing_of_it_where_disabled(node_chart: Path) -> None:
    """With the flag off the node's pod is as if there were no sidecar; the dependency renders nothing either."""
    (workload,) = render(*DISABLED, chart=node_chart)
    spec = pod([workload])
    assert "vmafx-sidecar" not in str(workload)
    assert "vmafx-trainer" not in str(workload)
    assert [volume["name"] for volume in spec["volumes"]] == ["scratch"]
    assert [entry["name"] for entry in spec["containers"][0]["env"]] == ["VMAFX_NODE_ID"]


def test_node_sets_only_what_differs(node_chart: Path) -> None:
    """The sidecar's defaults hold beside what the node's own values change."""
    settings = config.load(environment(sidecar(pod(render(chart=node_chart)))))
    assert (settings.replay_capacity, settings.reservoir_capacity) == (50_000, 10_000)


def test_both_sides_mean_the_same_socket(node_chart: Path) -> None:
    """The node's container gets the socket's path, and the directory mounted where that leads."""
    spec = pod(render("--set", "sidecar.trainer.settings.socket=/sockets/feedback.sock", chart=node_chart))
    node = spec["containers"][0]
    assert environment(node)["VMAFX_SIDECAR_SOCKET"] == "/sockets/feedback.sock"
    for container in (node, sidecar(spec)):
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounts["vmafx-socket"] == "/sockets"


def test_service_finds_the_nodes_pod(node_chart: Path) -> None:
    """The Service selects by a label of the sidecar's own, which leaves the node's labels alone."""
    found = render(chart=node_chart)
    labels = of_kind(found, "StatefulSet")["spec"]["template"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/name"] == "vmafx-node"
    assert of_kind(found, "Service")["spec"]["selector"].items() <= labels.items()


def test_alerts_come_along(node_chart: Path) -> None:
    """The alerts of this chart render from the node's chart too."""
    found = render("--set", "sidecar.trainer.prometheusRule.enabled=true", chart=node_chart)
    assert of_kind(found, "PrometheusRule")["spec"]["groups"]
