"""compose.yaml as a user runs it. The tests share what is running, in the order they stand in."""

import json
from typing import Any

import pytest

from tests.deploy.containers.docker import Container, Stack, docker
from tests.deploy.shm import MIB
from tests.support.waiting import eventually

ROLES = ("ingest", "trainer", "exporter", "monitor")
MODELS = "/mnt/vmafx-models/online"


def test_node_swaps_to_a_better_model(stack: Stack) -> None:
    """Within two minutes the node has taken over a model with a smaller error on the frames that it just sent."""
    assert eventually(lambda: stack.node.events("model_swapped"), explain=stack.sidecar.logs)
    swap = stack.node.events("model_swapped")[0]
    assert swap["rmse_after"] < swap["rmse_before"]


@pytest.mark.parametrize("service", ["sidecar", "fake-node"])
def test_confined(stack: Stack, service: str) -> None:
    """Both run as a user without rights, and cannot write to the image."""
    container = stack.container(service)
    found = container.inspect()
    assert found["Config"]["User"] == "65532:65532"
    assert found["HostConfig"]["ReadonlyRootfs"]
    assert found["HostConfig"]["CapDrop"] == ["ALL"]
    capabilities = container.run("grep", "CapEff", "/proc/1/status").stdout.split()
    assert capabilities == ["CapEff:", "0" * 16]
    for place in ("/", "/tmp", "/opt/vmafx-sidecar", "/var/tmp"):  # noqa: S108
        assert container.run("touch", f"{place}/x").returncode != 0


def test_node_cannot_write_models(stack: Stack) -> None:
    """The node reads checkpoints from a volume that it cannot write to."""
    assert stack.node.run("touch", f"{MODELS}/x").returncode != 0
    assert stack.node.run("ls", MODELS).returncode == 0


def test_first_process(stack: Stack) -> None:
    """`vmafx-sidecar run` is process 1, and buries what others leave behind."""
    sidecar = stack.sidecar
    assert sidecar.run("cat", "/proc/1/cmdline").stdout.split("\0")[-3:-1] == [
        "/opt/vmafx-sidecar/bin/vmafx-sidecar",
        "run",
    ]
    sidecar.run("sh", "-c", "(sleep 0.1 &)")
    assert eventually(lambda: " Z " not in sidecar.run("sh", "-c", "cat /proc/[0-9]*/stat").stdout)


def test_shared_memory_has_room(stack: Stack) -> None:
    """The regions, with room for a ring that is full, are well within shm_size."""
    used = int(stack.sidecar.run("du", "-sb", "/dev/shm").stdout.split()[0])  # noqa: S108
    assert used < stack.sidecar.inspect()["HostConfig"]["ShmSize"] / 2
    assert stack.sidecar.inspect()["HostConfig"]["ShmSize"] == 160 * MIB


def test_http(stack: Stack) -> None:
    """The endpoints answer on the port that is published, as the operator and the kubelet ask."""
    status = json.loads(get(stack.sidecar, "/status"))
    assert status["phase"] == "running"
    assert status["current_samples"] > 0
    assert get(stack.sidecar, "/readyz") == "ready\n"
    assert get(stack.sidecar, "/healthz").startswith("ingest: ok")
    assert "vmafx_sidecar_" in get(stack.sidecar, "/metrics")
    assert stack.sidecar.inspect()["HostConfig"]["PortBindings"].keys() == {"9091/tcp"}


def get(container: Container, path: str) -> str:
    """Return the body of an answer, asked for inside the container."""
    script = f"import urllib.request as r; print(r.urlopen('http://127.0.0.1:9091{path}').read().decode(), end='')"
    done = container.run("python", "-c", script)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("role", ROLES)
def test_killed_process_restarts_alone(stack: Stack, role: str) -> None:
    """A process that is killed inside is replaced, the others stay, and the node's samples go on being answered."""
    sidecar = stack.sidecar
    assert eventually(lambda: sidecar.status().get("healthy"))
    before, accepted = pids(sidecar), sidecar.accepted()
    sidecar.run("sh", "-c", f"kill -9 {before[role]}")
    assert eventually(lambda: sidecar.role(role).get("pid") not in {None, before[role]})
    assert eventually(lambda: sidecar.role(role)["progressing"])
    after = pids(sidecar)
    assert {name for name in ROLES if after[name] != before[name]} == {role}
    assert sidecar.goes_on_from(accepted)
    assert sidecar.inspect()["RestartCount"] == 0


def pids(container: Container) -> dict[str, int]:
    """Return the process of each role."""
    return {name: int(state["pid"]) for name, state in container.status()["roles"].items()}


def test_killed_sidecar_loses_nothing(stack: Stack) -> None:
    """After `docker kill` in mid-stream it goes on with what the volumes hold, and every checkpoint is still whole."""
    sidecar = stack.sidecar
    assert eventually(lambda: sidecar.status().get("exporter", {}).get("state_saved_at"))
    published, saved = digests(stack), sidecar.status()
    docker("kill", sidecar.name)
    assert docker("wait", sidecar.name).stdout.strip() == "137"
    assert digests(stack).items() >= published.items()
    docker("start", sidecar.name)
    assert eventually(lambda: sidecar.status().get("healthy"))
    now = sidecar.status()
    assert now["trainer"]["step"] > 0
    assert now["exporter"]["version"] >= saved["exporter"]["version"]
    assert sidecar.goes_on_from(sidecar.accepted())
    assert eventually(lambda: set(digests(stack)) > set(published))
    assert digests(stack).items() >= published.items()


def digests(stack: Stack) -> dict[str, Any]:
    """Return the digest of each checkpoint on the volume, as the node reads it; each has to match its file."""
    listed = stack.node.run("sh", "-c", f"cd {MODELS} && sha256sum model_v*.onnx && tail -n +1 model_v*.onnx.sha256")
    assert listed.returncode == 0, listed.stderr
    sums = {line.split()[1]: line.split()[0] for line in listed.stdout.splitlines() if line.endswith(".onnx")}
    beside = listed.stdout.split()
    assert all(beside.count(digest) >= 2 for digest in sums.values())
    return sums


def test_saved_samples_come_back(stack: Stack) -> None:
    """What was in the ring at the last save is there again, and is trained on from the step that was saved."""
    (resumed,) = [event for event in stack.sidecar.events("listening") if event["restored"]]
    assert resumed["samples"] > 1000


def test_crash_is_restarted(stack: Stack) -> None:
    """Where the first process dies by itself, Docker's restart policy brings the container back."""
    sidecar = stack.sidecar
    sidecar.crash()
    assert eventually(lambda: sidecar.inspect()["RestartCount"] == 1)
    assert eventually(lambda: sidecar.status().get("healthy"))
    assert sidecar.goes_on_from(sidecar.accepted())


def test_ends_with_code_0(stack: Stack) -> None:
    """`docker compose stop` ends both in time and of their own accord; no sample of the node's was ever refused."""
    sidecar, node = stack.sidecar, stack.node
    stack.compose("stop")
    assert (sidecar.inspect()["State"]["ExitCode"], node.inspect()["State"]["ExitCode"]) == (0, 0)
    assert "refused 0" in node.logs()
