"""Alert rules and dashboard: they name metrics that exist, every alert is tested, and `promtool` is content."""

import importlib
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.monitor.metrics import registry
from pipeline.monitor.record import Record
from pipeline.monitor.usage import Usages
from pipeline.runtime.reports import Board
from tests.support.processes import REPOSITORY

DEPLOY = REPOSITORY / "deploy"
RULES = DEPLOY / "prometheus" / "alerts.yaml"
TESTS = DEPLOY / "prometheus" / "alerts_test.yaml"
DASHBOARD = DEPLOY / "grafana" / "vmafx-sidecar.json"
OPERATIONS = REPOSITORY / "docs" / "operations.md"


def _alerts() -> list[str]:
    return re.findall(r"- alert: (\w+)", RULES.read_text())


def _expressions() -> Iterator[str]:
    dashboard: dict[str, Any] = json.loads(DASHBOARD.read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield target["expr"]


def _promtool(promtool: str, *arguments: str) -> None:
    result = subprocess.run([promtool, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_rules_pass_their_unit_tests(promtool: str) -> None:
    """Each alert fires where it should; a healthy sidecar and an idle one set off none."""
    _promtool(promtool, "test", "rules", str(TESTS))


def test_every_alert_is_tested_and_explained() -> None:
    """No alert is without a unit test in which it fires, nor without a section that says what to do."""
    tested = set(re.findall(r"alertname: (\w+)", TESTS.read_text()))
    explained = set(re.findall(r"^### (\w+)", OPERATIONS.read_text(), re.MULTILINE))
    assert tested == set(_alerts())
    assert set(_alerts()) <= explained


def test_the_example_configuration_is_valid(promtool: str) -> None:
    """The configuration beside the rules is one that Prometheus takes."""
    _promtool(promtool, "check", "config", str(DEPLOY / "prometheus" / "prometheus.yaml"))


def test_the_dashboards_queries_parse(promtool: str, tmp_path: Path) -> None:
    """Every query of the dashboard is valid PromQL once Grafana has filled in its variables."""
    filled = (each.replace("$__rate_interval", "1m").replace("$instance", ".*") for each in _expressions())
    rules = [{"record": f"panel:{i}", "expr": expression} for i, expression in enumerate(filled)]
    path = tmp_path / "queries.yaml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    _promtool(promtool, "check", "rules", str(path))


@pytest.mark.parametrize("source", ["rules", "dashboard"])
def test_only_metrics_that_exist_are_asked_for(board: Board, record: Record, source: str) -> None:
    """Rules and dashboard use no name that the sidecar does not serve."""
    text = RULES.read_text() if source == "rules" else "\n".join(_expressions())
    families = list(registry(board, record, Usages()).collect())
    suffixes = {"counter": "_total", "info": "_info"}
    served = {family.name + suffixes.get(family.type, "") for family in families}
    asked = set(re.findall(r"vmafx_sidecar_\w+", text))
    assert asked
    assert asked - served == set()


def test_grafana_reads_the_dashboard() -> None:
    """Grafana's own schema knows every field of every panel and query: read and written again, nothing is lost."""
    dashboard: dict[str, Any] = json.loads(DASHBOARD.read_text())
    assert lost(dashboard) == []


@pytest.mark.parametrize("level", ["dashboard", "panel", "options", "query"])
def test_a_misspelt_field_is_found(level: str) -> None:
    """A field that Grafana would not know is found wherever it stands."""
    dashboard: dict[str, Any] = json.loads(DASHBOARD.read_text())
    panel = dashboard["panels"][0]
    {"dashboard": dashboard, "panel": panel, "options": panel["options"], "query": panel["targets"][0]}[level]["x"] = 1
    assert [path.rpartition("/")[2] for path in lost(dashboard)] == ["x"]


def lost(dashboard: dict[str, Any]) -> list[str]:
    """Return the paths of what Grafana's schema, as its SDK has it, does not take over."""
    sdk = "grafana_foundation_sdk"
    models = pytest.importorskip(f"{sdk}.models.dashboard", reason="Grafana's SDK is not installed")
    importlib.import_module(f"{sdk}.cog.plugins").register_default_plugins()
    encoder = importlib.import_module(f"{sdk}.cog.encoder").JSONEncoder
    read = models.Dashboard.from_json(json.loads(json.dumps(dashboard)))
    return list(_missing(dashboard, json.loads(encoder().encode(read))))


def _missing(given: Any, taken: Any, path: str = "") -> Iterator[str]:
    if isinstance(given, dict) and isinstance(taken, dict):
        for key, value in given.items():
            if key in taken:
                yield from _missing(value, taken[key], f"{path}/{key}")
            else:
                yield f"{path}/{key}"
    elif isinstance(given, list) and isinstance(taken, list) and len(given) == len(taken):
        for number, pair in enumerate(zip(given, taken, strict=True)):
            yield from _missing(*pair, f"{path}/{number}")
    elif given != taken:
        yield path
