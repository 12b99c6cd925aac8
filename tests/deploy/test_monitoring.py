"""What the chart hands to Prometheus' operator, and who may reach the port."""

import subprocess
from pathlib import Path

import yaml

from tests.deploy.charts import CHART, DEPLOY, of_kind, render, tool

PRODUCTION = ("--values", CHART.parent / "values" / "production.yaml")


def test_service_monitor() -> None:
    """The ServiceMonitor finds the Service of all pods and its port, and names the job as the alerts expect it."""
    found = render(*PRODUCTION)
    services = [document for document in found if document["kind"] == "Service"]
    monitor = of_kind(found, "ServiceMonitor")
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    (service,) = (each for each in services if wanted <= each["metadata"]["labels"].items())
    labels = service["metadata"]["labels"]
    assert service["spec"]["clusterIP"] == "None"
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] == service["spec"]["ports"][0]["name"]
    assert endpoint["path"] == "/metrics"
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    job = labels[monitor["spec"]["jobLabel"]]
    assert f'up{{job="{job}"}}' in (DEPLOY / "prometheus" / "alerts.yaml").read_text()


def test_rules_are_the_shipped_alerts(tmp_path: Path) -> None:
    """The rule object holds the alerts file, and Prometheus' own checker takes it."""
    rule = of_kind(render(*PRODUCTION), "PrometheusRule")
    assert rule["spec"] == yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())
    rules = tmp_path / "rules.yaml"
    rules.write_text(yaml.safe_dump(rule["spec"]))
    subprocess.run([tool("promtool"), "check", "rules", rules], check=True, capture_output=True)


def test_network_policy() -> None:
    """Only the peers that were named reach port 9091; without any, nobody does."""
    spec = of_kind(render(*PRODUCTION), "NetworkPolicy")["spec"]
    (rule,) = spec["ingress"]
    assert rule["ports"] == [{"port": 9091}]
    assert len(rule["from"]) == 2
    closed = render(*PRODUCTION, "--set-json", "sidecar.trainer.networkPolicy.from=[]")
    spec = of_kind(closed, "NetworkPolicy")["spec"]
    assert spec["policyTypes"] == ["Ingress"]
    assert "ingress" not in spec


def test_off_unless_asked_for() -> None:
    """A cluster without Prometheus' operator is not given objects that it does not know."""
    kinds = {document["kind"] for document in render("--values", CHART.parent / "values" / "example.yaml")}
    assert kinds == {"ConfigMap", "Service", "StatefulSet"}
