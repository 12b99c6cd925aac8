"""Rendering and validating manifests with the real tools."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes_validate import validate

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "vmafx-sidecar"
VALUES = sorted((DEPLOY / "helm" / "values").glob("*.yaml"))
KUBERNETES = ("1.27", "1.31", "1.37")
"""One before native sidecars, one that has them, the newest there are schemas for."""

WITHOUT_SCHEMA = {"ServiceMonitor", "PrometheusRule"}
"""Kinds of Prometheus' operator, not of Kubernetes."""

Object = dict[str, Any]


def tool(name: str) -> str:
    """Return the path of a program, of this environment or of the machine, or skip the test."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def helm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run helm and return what came of it."""
    return subprocess.run([tool("helm"), *map(str, arguments)], capture_output=True, text=True, check=False)


def render(*arguments: str | Path, chart: Path = CHART, kubernetes: str = "1.31") -> list[Object]:
    """Return the objects that the chart renders for a release named `example`."""
    done = helm("template", "example", chart, "--kube-version", kubernetes, *arguments)
    assert done.returncode == 0, done.stderr
    return objects(done.stdout)


def objects(manifests: str) -> list[Object]:
    """Parse a stream of manifests."""
    return [document for document in yaml.safe_load_all(manifests) if document]


def check(found: list[Object], kubernetes: str) -> None:
    """Validate against the schemas of one version of Kubernetes; an unknown kind or field is an error."""
    assert found
    for document in found:
        if document["kind"] not in WITHOUT_SCHEMA:
            assert validate(document, kubernetes, strict=True) == kubernetes


def of_kind(found: list[Object], kind: str) -> Object:
    """Return the only object of `kind`."""
    (document,) = (document for document in found if document["kind"] == kind)
    return document


def pod(found: list[Object]) -> Object:
    """Return the pod template's spec of the only workload."""
    (workload,) = (document for document in found if "template" in document.get("spec", {}))
    spec: Object = workload["spec"]["template"]["spec"]
    return spec


def sidecar(spec: Object) -> Object:
    """Return the sidecar's container, of whichever sort it is."""
    containers = spec.get("initContainers", []) + spec["containers"]
    (container,) = (container for container in containers if container["name"] == "vmafx-sidecar")
    return dict(container)


def environment(container: Object) -> dict[str, str]:
    """Return a container's environment."""
    return {entry["name"]: entry["value"] for entry in container["env"]}


def shared_memory_mi(spec: Object) -> int:
    """Return the limit of /dev/shm in MiB."""
    (volume,) = (volume for volume in spec["volumes"] if volume["name"] == "vmafx-shared-memory")
    limit: str = volume["emptyDir"]["sizeLimit"]
    assert limit.endswith("Mi")
    return int(limit.removesuffix("Mi"))
