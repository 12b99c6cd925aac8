"""A node's own chart that takes the sidecar in, as docs/deployment.md says."""

from pathlib import Path

import pytest

from pipeline import config
from tests.deploy.charts import (
    KUBERNETES,
    check,
    environment,
    helm,
    named,
    of_kind,
    pod,
    render,
    shared_memory_mi,
    sidecar,
)
from tests.deploy.shm import MIB, sample_bytes

DISABLED = ("--set", "sidecar.trainer.enabled=false")


@pytest.mark.parametrize("kubernetes", KUBERNETES)
def test_valid(node_chart: Path, kubernetes: str) -> None:
    """The node's pod with the sidecar in it is valid."""
    found = render(chart=node_chart, kubernetes=kubernetes)
    check(found, kubernetes)
    assert sorted(document["kind"] for document in found) == ["Service", "Service", "StatefulSet"]


def test_lint(node_chart: Path) -> None:
    """Helm finds nothing to complain of in a node's chart that takes the sidecar in."""
    done = helm("lint", "--strict", node_chart)
    assert done.returncode == 0, done.stdout


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
    """The Services select by a label of the sidecar's own, which leaves the node's labels alone."""
    found = render(chart=node_chart)
    labels = of_kind(found, "StatefulSet")["spec"]["template"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/name"] == "vmafx-node"
    assert named(found, "vmafx-trainer-example-pods")["spec"]["selector"].items() <= labels.items()
    assert named(found, "vmafx-trainer-example")["spec"]["selector"].items() >= labels.items() - {
        ("app.kubernetes.io/name", "vmafx-node")
    }


@pytest.mark.parametrize("n_features", [6, 7, 80, 4096])
@pytest.mark.parametrize("capacity", [64, 10_000, 10_000_000])
def test_shared_memory_is_computed(node_chart: Path, n_features: int, capacity: int) -> None:
    """The limit of /dev/shm is the reserve and what the samples take by the program's own layouts, in whole MiB."""
    chosen = ("nFeatures", n_features), ("replayCapacity", capacity), ("reservoirCapacity", capacity)
    sets = [f"sidecar.trainer.settings.{name}={value}" for name, value in chosen]
    spec = pod(render(*(word for pair in sets for word in ("--set", pair)), chart=node_chart))
    settings = config.load(environment(sidecar(spec)))
    assert (settings.n_features, settings.replay_capacity) == (n_features, capacity)
    rows = shared_memory_mi(spec) - 16
    assert rows - 1 <= sample_bytes(settings) / MIB <= rows + 1 / 16


def test_alerts_come_along(node_chart: Path) -> None:
    """The alerts of this chart render from the node's chart too."""
    found = render("--set", "sidecar.trainer.prometheusRule.enabled=true", chart=node_chart)
    assert of_kind(found, "PrometheusRule")["spec"]["groups"]
