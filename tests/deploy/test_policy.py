"""The Pod Security Standard `restricted`, judged by checkov, which `make helm-test` installs."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.deploy.charts import DEPLOY, OLDEST, VALUES, Object, objects, pod, render, sidecar, tool

RESTRICTED = {
    "CKV_K8S_16": "privileged",
    "CKV_K8S_17": "the host's process ids",
    "CKV_K8S_18": "the host's IPC",
    "CKV_K8S_19": "the host's network",
    "CKV_K8S_20": "escalation of privileges",
    "CKV_K8S_22": "a root file system that can be written",
    "CKV_K8S_23": "root",
    "CKV_K8S_25": "added capabilities",
    "CKV_K8S_27": "the container engine's socket",
    "CKV_K8S_31": "no seccomp profile",
    "CKV_K8S_37": "capabilities that are not dropped",
    "CKV_K8S_38": "a service account's token",
    "CKV_K8S_40": "a user id of the host's",
}
"""What checkov looks for, by its numbers."""


def failed(found: list[Object], directory: Path) -> set[str]:
    """Return the numbers of the checks that any of the objects fails; every check has to be made."""
    (directory / "manifests.yaml").write_text(yaml.safe_dump_all(found))
    command = [tool("checkov"), "--directory", str(directory), "--framework", "kubernetes", "--skip-download"]
    command += ["--check", ",".join(RESTRICTED), "--output", "json", "--soft-fail"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    results = json.loads(done.stdout)["results"]
    refused, passed = ({each["check_id"] for each in results[f"{verdict}_checks"]} for verdict in ("failed", "passed"))
    assert refused | passed == set(RESTRICTED)
    return refused


@pytest.mark.parametrize("kubernetes", [OLDEST, "1.37"], ids=["plain", "native"])
@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_chart_is_restricted(values: Path, kubernetes: str, tmp_path: Path) -> None:
    """Every values file passes, with the sidecar as a container and as an init container."""
    assert failed(render("--values", values, kubernetes=kubernetes), tmp_path) == set()


@pytest.mark.parametrize("folder", ["example", "pool"])
def test_plain_manifests_are_restricted(folder: str, tmp_path: Path) -> None:
    """So do the manifests that kustomize builds."""
    command = [tool("kubectl"), "kustomize", str(DEPLOY / "kustomize" / folder)]
    built = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert failed(objects(built), tmp_path) == set()


@pytest.mark.parametrize("kubernetes", [OLDEST, "1.37"], ids=["plain", "native"])
def test_the_check_can_fail(kubernetes: str, tmp_path: Path) -> None:
    """A sidecar that may do everything is found out, whichever sort of container it is."""
    found = render("--values", VALUES[0], kubernetes=kubernetes)
    sidecar(pod(found))["securityContext"].clear()
    assert failed(found, tmp_path) >= {"CKV_K8S_20", "CKV_K8S_22", "CKV_K8S_37"}
