"""The plain manifests."""

import subprocess
from typing import Any

import pytest

from pipeline import config
from tests.deploy.charts import CHART, DEPLOY, KUBERNETES, Object, check, environment, objects, render, sidecar, tool

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
