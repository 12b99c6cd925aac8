"""Three pods' containers on one volume, each with a folder of its own as `subPathExpr: $(POD_NAME)` mounts it."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.containers.docker import Container, docker, start
from tests.deploy.containers.test_image import FINE_TUNING, variables
from tests.support.waiting import eventually

PODS = ("node-0", "node-1", "node-2")
MODELS = "/mnt/vmafx-models"


class Fleet:
    """Pods of one release: the folder of each stays on the volume while its container comes and goes."""

    def __init__(self, image: str, volume: Path) -> None:
        self._image, self._volume, self._serial = image, volume, itertools.count()
        self.pods: dict[str, Container] = {}

    def add(self, pod: str, folder: str = "") -> Container:
        """Start a pod's container; shared memory and the directory of the socket are new, as in a new pod."""
        place = self._volume / (folder or pod)
        place.mkdir(exist_ok=True)
        place.chmod(0o777)  # any user of the image, as the group of a pod's volumes has it
        settings = FINE_TUNING | {"VMAFX_SIDECAR_INSTANCE": f"{pod}-{next(self._serial)}"}
        container = start(self._image, *variables(settings), "--volume", "/run/vmafx", "--volume", f"{place}:{MODELS}")
        self.pods[pod] = container
        return container

    def remove(self, pod: str) -> int:
        """Stop a pod's container within the grace period of the examples and remove it; return its exit code."""
        container = self.pods.pop(pod)
        docker("stop", "--time", "50", container.name)
        code: int = container.inspect()["State"]["ExitCode"]
        docker("rm", "--force", "--volumes", container.name)
        return code

    def feed(self, pod: str) -> None:
        """Send a pod two thousand frames; every one is taken."""
        done = self.pods[pod].run("vmafx-sidecar", "feed", "--samples", "2000", "--rate", "500")
        assert "accepted 2000, refused 0, dropped 0" in done.stdout + done.stderr

    def version(self, pod: str) -> int:
        """Return the newest checkpoint's version."""
        return int(self.pods[pod].status().get("exporter", {}).get("version", 0))

    def finds_all_sound(self) -> bool:
        """Let fsck look at every folder of the volume, of a pod that runs or not."""
        folders = sorted(path.name for path in self._volume.iterdir())
        looks = " && ".join(f"vmafx-sidecar fsck --dir /volume/{folder}/online" for folder in folders)
        options = ("--rm", "--network", "none", "--user", "0", "--volume", f"{self._volume}:/volume:ro")
        return docker("run", *options, "--entrypoint", "sh", self._image, "-ec", looks).returncode == 0


@pytest.fixture
def fleet(image: str, tmp_path: Path) -> Iterator[Fleet]:
    """Give a fleet without pods on an empty volume."""
    tmp_path.chmod(0o755)
    fleet = Fleet(image, tmp_path)
    yield fleet
    for pod in list(fleet.pods):
        fleet.remove(pod)


def test_side_by_side(fleet: Fleet) -> None:
    """Three pods learn beside each other; scaled down and up again, one goes on where it was, and all is sound."""
    for pod in PODS:
        fleet.add(pod)
    for pod in PODS:
        assert eventually(lambda pod=pod: fleet.pods[pod].status().get("healthy"), explain=fleet.pods[pod].logs)  # type: ignore[misc]
    for pod in PODS:
        fleet.feed(pod)
    for pod in PODS:
        assert eventually(lambda pod=pod: fleet.version(pod) > 0, explain=fleet.pods[pod].logs)  # type: ignore[misc]
    assert fleet.finds_all_sound()

    before = fleet.version("node-2")
    assert [fleet.remove(pod) for pod in ("node-2", "node-1")] == [0, 0]
    assert fleet.finds_all_sound()
    assert fleet.pods["node-0"].status()["healthy"]

    again = fleet.add("node-2")
    assert eventually(lambda: again.events("resumed"), explain=again.logs)
    assert eventually(lambda: fleet.version("node-2") >= before, explain=again.logs)
    fleet.feed("node-2")
    assert fleet.finds_all_sound()


def test_a_rolling_update_does_not_wait(fleet: Fleet) -> None:
    """The new pod of a Deployment, under its new name, is at work while the old one still is."""
    old, new = fleet.add("node-7f9c-abcde"), fleet.add("node-84d1-fghij")
    assert eventually(lambda: old.status().get("healthy") and new.status().get("healthy"), explain=new.logs)
    assert fleet.remove("node-7f9c-abcde") == 0
    assert new.status()["healthy"]


def test_a_shared_directory_is_refused(fleet: Fleet) -> None:
    """A second sidecar on the same folder ends with code 73 and names the folder; the first goes on."""
    first = fleet.add("node-0")
    assert eventually(lambda: first.status().get("healthy"), explain=first.logs)
    second = fleet.add("node-1", folder="node-0")
    assert second.wait() == 73
    assert f"{MODELS}/online: another sidecar publishes here" in second.logs()
    assert first.status()["healthy"]
