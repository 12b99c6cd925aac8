"""Rendering and validating manifests with the real tools."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "vmafx-sidecar"
VALUES = sorted((DEPLOY / "helm" / "values").glob("*.yaml"))


def _bundled() -> list[str]:
    """Return the versions of Kubernetes that there are schemas for, oldest first."""
    schemas = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
    minors = {int(path.name.split(".")[1]) for path in schemas.glob("v1.*")}
    return [f"1.{minor}" for minor in sorted(minors)]


OLDEST = "1.25"
"""The oldest version that Chart.yaml allows; native sidecars came with 1.29."""

KUBERNETES = (OLDEST, "1.28", "1.29", *_bundled()[-3:])
"""The oldest supported, those on both sides of native sidecars, and the newest three."""

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


def refusal(*arguments: str | Path, chart: Path = CHART, kubernetes: str = "1.31") -> str:
    """Return what helm says where the chart must not render."""
    done = helm("template", "example", chart, "--kube-version", kubernetes, *arguments)
    assert done.returncode != 0, done.stdout
    return done.stderr


def objects(manifests: str) -> list[Object]:
    """Parse a stream of manifests."""
    return [document for document in yaml.safe_load_all(manifests) if document]


def check(found: list[Object], kubernetes: str) -> None:
    """Validate against the schemas of one version of Kubernetes; an unknown kind or field is an error."""
    assert found
    for document in found:
        if document["kind"] not in WITHOUT_SCHEMA:
            assert kubernetes_validate.validate(document, kubernetes, strict=True) == kubernetes


def of_kind(found: list[Object], kind: str) -> Object:
    """Return the only object of `kind`."""
    (document,) = (document for document in found if document["kind"] == kind)
    return document


def named(found: list[Object], name: str) -> Object:
    """Return the only Service of that name."""
    (document,) = (each for each in found if each["kind"] == "Service" and each["metadata"]["name"] == name)
    return document


def pod(found: list[Object]) -> Object:
    """Return the pod template's spec of the only workload."""
    (workload,) = (document for document in found if "template" in document.get("spec", {}))
    spec: Object = workload["spec"]["template"]["spec"]
    return spec


def sidecar(spec: Object) -> Object:
    """Return the sidecar's container, of whichever sort it is."""
    containers = (spec.get("initContainers") or []) + spec["containers"]
    (container,) = (container for container in containers if container["name"] == "vmafx-sidecar")
    return dict(container)


def environment(container: Object) -> dict[str, str]:
    """Return a container's environment, but for what only a cluster can fill in."""
    return {entry["name"]: entry["value"] for entry in container["env"] if "$(" not in entry.get("value", "$(")}


def shared_memory_mi(spec: Object) -> int:
    """Return the limit of /dev/shm in MiB."""
    (volume,) = (volume for volume in spec["volumes"] if volume["name"] == "vmafx-shared-memory")
    limit: str = volume["emptyDir"]["sizeLimit"]
    assert limit.endswith("Mi")
    return int(limit.removesuffix("Mi"))
