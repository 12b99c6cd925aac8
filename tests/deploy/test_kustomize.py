"""The plain manifests."""

import shutil
import subprocess
from json import dumps
from pathlib import Path
from typing import Any

import pytest

from pipeline import config
from tests.deploy.charts import (
    CHART,
    DEPLOY,
    KUBERNETES,
    Object,
    check,
    environment,
    objects,
    pod,
    render,
    sidecar,
    tool,
)

EXAMPLE = CHART.parent / "values" / "example.yaml"
CHARTS_OWN = "app.kubernetes.io/"


@pytest.fixture(scope="module")
def built() -> list[Object]:
    """Return what kustomize makes of the example."""
    return made_of("example")


@pytest.fixture(scope="module")
def pool() -> list[Object]:
    """Return what it makes of a fleet's pool."""
    return made_of("pool")


def made_of(folder: str) -> list[Object]:
    """Build a folder."""
    command = [tool("kubectl"), "kustomize", str(DEPLOY / "kustomize" / folder)]
    return objects(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.parametrize("kubernetes", KUBERNETES[2:])
def test_valid(built: list[Object], kubernetes: str) -> None:
    """Kubernetes knows every field, where it has native sidecars."""
    check(built, kubernetes)


def test_same_as_the_chart(built: list[Object]) -> None:
    """The chart renders the same objects from its example values, but for its labels and its copies of defaults."""
    in_the_image = "baseModel.files=null,sidecar.trainer.baseModelPath=/usr/share/vmafx-sidecar/base_model.onnx"
    chart = render("--values", CHART.parent / "values" / "example.yaml", "--set", f"sidecar.trainer.{in_the_image}")
    assert comparable(built) == comparable(chart)


@pytest.mark.parametrize("kubernetes", KUBERNETES)
def test_the_pool_is_valid(pool: list[Object], kubernetes: str) -> None:
    """Everywhere: it is no native sidecar."""
    check(pool, kubernetes)


def test_the_pool_is_that_of_the_chart(pool: list[Object]) -> None:
    """With the image's base model, one server, and models that stay where they are."""
    registry = "pool.registry.url=,pool.registry.dockerConfigSecret="
    base_model = "sidecar.trainer.baseModelPath=/usr/share/vmafx-sidecar/base_model.onnx"
    differ = ("--set", f"pool.replicas=1,{registry},{base_model}")
    chart = render("--values", CHART.parent / "values" / "pool.yaml", *differ)
    assert comparable(pool) == comparable(chart)


REGISTRY = {
    "url": "oci://registry.example.com/vmaf/models",
    "dockerConfigSecret": "vmafx-registry",
    "environmentSecret": "vmafx-object-store",
    "signKeySecret": "vmafx-registry-sign-key",
    "publicKeyConfigMap": "vmafx-registry-public-key",
}


def test_with_the_registry_it_is_the_same_as_the_chart(tmp_path: Path) -> None:
    """Address, credentials and keys come to the sidecar as the chart brings them; every field is known."""
    shutil.copytree(DEPLOY / "kustomize", tmp_path / "kustomize")
    example = tmp_path / "kustomize" / "example"
    with (example / "kustomization.yaml").open("a") as file:
        file.write("  - ../registry\n")
    command = [tool("kubectl"), "kustomize", str(example)]
    found = objects(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    check(found, KUBERNETES[-1])
    spec, chart = (
        pod(found),
        pod(render("--values", EXAMPLE, "--set-json", f"sidecar.trainer.registry={dumps(REGISTRY)}")),
    )
    ours, theirs = environment(sidecar(spec)), environment(sidecar(chart))
    names = {name for name in theirs if "REGISTRY" in name or name == "DOCKER_CONFIG"}
    assert len(names) == 4
    assert {name: ours[name] for name in names} == {name: theirs[name] for name in names}
    assert sidecar(spec)["envFrom"] == sidecar(chart)["envFrom"]
    assert _of_registry(sidecar(spec)["volumeMounts"]) == _of_registry(sidecar(chart)["volumeMounts"])
    assert _of_registry(spec["volumes"]) == _of_registry(chart["volumes"])


def _of_registry(named: list[Object]) -> dict[str, Object]:
    found = {each["name"]: each for each in named if "registry" in each["name"]}
    assert len(found) == 3
    return found


def comparable(found: list[Object]) -> dict[tuple[str, str], Any]:
    """Return objects by kind and name, without what the chart adds about itself, with each environment as settings."""
    return {(document["kind"], document["metadata"]["name"]): _plain(document) for document in found}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(element) for element in value]
    if not isinstance(value, dict):
        return value
    kept = {key: _plain(element) for key, element in value.items() if not key.startswith(CHARTS_OWN)}
    kept.pop("annotations", None)
    if "env" in kept:
        from_the_cluster = [entry for entry in value["env"] if "valueFrom" in entry]
        kept["env"] = (from_the_cluster, config.load(environment(value)))
    return kept


def test_settings_are_understood(built: list[Object]) -> None:
    """Every variable that the manifests set is a setting of the program."""
    (workload,) = (document for document in built if document["kind"] == "StatefulSet")
    assert config.unknown(environment(sidecar(workload["spec"]["template"]["spec"]))) == []
