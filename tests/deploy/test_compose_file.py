"""compose.yaml, read without running it; tests/deploy/containers runs it."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

import pipeline
from pipeline import config
from pipeline.cli import cli
from tests.deploy.charts import DEPLOY, tool
from tests.deploy.shm import MIB, report_bytes, sample_bytes
from tests.deploy.test_chart import stop_seconds

DEFAULT = re.compile(r"\$\{\w+:-([^}]*)\}")
COMPOSE: dict[str, Any] = yaml.safe_load(DEFAULT.sub(r"\1", (DEPLOY / "compose.yaml").read_text()))
SERVICES: dict[str, Any] = COMPOSE["services"]


def test_shared_memory_has_room() -> None:
    """shm_size holds an archive's buffer and twice what the samples and reports take: the rest is the models'."""
    settings = config.load(SERVICES["sidecar"]["environment"])
    size = int(SERVICES["sidecar"]["shm_size"].removesuffix("mb")) * MIB
    assert settings.archive_buffer_bytes + 2 * (sample_bytes(settings) + report_bytes()) < size


def test_an_archive_is_switched_on_from_outside() -> None:
    """By the variable that the comment names; without it there is none. The directory is on a volume."""
    text = (DEPLOY / "compose.yaml").read_text()
    (directory,) = re.findall(r"# With VMAFX_SIDECAR_ARCHIVE_DIR=(\S+) ", text)
    assert "${VMAFX_SIDECAR_ARCHIVE_DIR:-}" in text
    assert config.load(SERVICES["sidecar"]["environment"]).archive_dir is None
    assert Path(directory).parent in {Path(each.split(":")[1]) for each in SERVICES["sidecar"]["volumes"]}


@pytest.mark.parametrize("service", ["sidecar", "fake-node", "pool"])
def test_settings_are_understood(service: str) -> None:
    """Every variable that is set is a setting of the program, with a value that it accepts."""
    variables = SERVICES[service]["environment"]
    assert config.unknown(variables) == []
    config.load(variables)


@pytest.mark.parametrize("service", SERVICES)
def test_confined(service: str) -> None:
    """No service has capabilities, or a root that it can write to; memory is limited, ports are for this host only."""
    found = SERVICES[service]
    assert found["read_only"]
    assert found["cap_drop"] == ["ALL"]
    assert found["mem_limit"]
    assert all(port.startswith("127.0.0.1:") for port in found.get("ports", []))


def test_end_has_time() -> None:
    """Docker's patience exceeds what the processes take to stop one after the other."""
    assert int(SERVICES["sidecar"]["stop_grace_period"].removesuffix("s")) > stop_seconds()


def test_image_says_its_version() -> None:
    """What `docker compose build` makes has the program's version in its label, as what `make image` makes."""
    assert SERVICES["sidecar"]["build"]["args"]["VERSION"] == pipeline.__version__


def test_node_waits_for_the_sidecar() -> None:
    """The fake node starts when the sidecar is healthy, and Prometheus only when asked for."""
    assert SERVICES["fake-node"]["depends_on"] == {"sidecar": {"condition": "service_healthy"}}
    assert SERVICES["prometheus"]["profiles"] == ["metrics"]


def test_the_registry_comes_when_it_is_asked_for() -> None:
    """And is where the page on registries says."""
    assert SERVICES["registry"]["profiles"] == ["registry"]
    line = next(line for line in (DEPLOY / "compose.yaml").read_text().splitlines() if "--profile registry up" in line)
    url = line.split("VMAFX_REGISTRY_URL=")[1].split()[0]
    assert config.load({"VMAFX_REGISTRY_URL": url}).uses_registry
    assert line.strip("# ") in (DEPLOY.parent / "docs" / "registry.md").read_text()


def test_a_fleet_comes_when_it_is_asked_for(tmp_path: Path) -> None:
    """The command that writes its keys is understood, and each service finds there what it is told to use."""
    services = ("fleet-config", "nats", "pool")
    assert {name for name in SERVICES if SERVICES[name].get("profiles") == ["fleet"]} == set(services)
    command = [str(tmp_path) if word == "/fleet" else word for word in SERVICES["fleet-config"]["command"]]
    done = CliRunner().invoke(cli, command)
    assert done.exit_code == 0, done.output
    for name in ("sidecar", "pool"):
        for variable in ("VMAFX_FLEET_KEY", "VMAFX_FLEET_CA"):
            file = Path(SERVICES[name]["environment"][variable])
            assert (tmp_path / file.relative_to("/fleet")).is_file()
            assert mounted(name, file) == mounted("fleet-config", file)
    conf = tmp_path / Path(SERVICES["nats"]["command"][-1]).relative_to("/fleet")
    text = conf.read_text()
    assert 'store_dir: "/fleet/store"' in text
    assert re.findall(r'cert_file: "(.*?)"', text) == [str(Path(SERVICES["nats"]["command"][-1]).with_name("cert.pem"))]
    line = next(line for line in (DEPLOY / "compose.yaml").read_text().splitlines() if "--profile fleet up" in line)
    url = line.split("VMAFX_FLEET_URL=")[1].split()[0]
    assert SERVICES["pool"]["environment"]["VMAFX_FLEET_URL"] == url
    assert f"VMAFX_FLEET_URL={url}" in done.output
    assert line.strip("# ") in (DEPLOY.parent / "docs" / "fleet.md").read_text()


def mounted(service: str, file: Path) -> str:
    """Return the volume that a file lies on in a service: that which is mounted closest to it."""
    mounts = {Path(mount.split(":")[1]): mount.split(":")[0] for mount in SERVICES[service]["volumes"]}
    return str(next(mounts[parent] for parent in file.parents if parent in mounts))


def test_credentials_and_keys_are_secrets() -> None:
    """What is laid over for a registry that wants some names files that are mounted, and settings of the program."""
    over = yaml.safe_load((DEPLOY / "compose-registry.yaml").read_text())
    sidecar = over["services"]["sidecar"]
    variables = {name: value for name, value in sidecar["environment"].items() if value}
    assert config.unknown(variables) == []
    mounted = {f"/run/secrets/{name}" for name in sidecar["secrets"]}
    settings = config.load(variables)
    assert {str(settings.registry_sign_key), str(settings.registry_public_key)} < mounted
    assert f"{variables['DOCKER_CONFIG']}/config.json" in mounted
    assert set(sidecar["secrets"]) == set(over["secrets"])
    for name, source in over["secrets"].items():
        assert source["file"].endswith(f"/{name}")


def test_prometheus_scrapes_the_sidecar(tmp_path: Path) -> None:
    """Prometheus' own checker takes the configuration, which names the sidecar and the job of the alerts."""
    file = DEPLOY / "compose-prometheus.yaml"
    (scrape,) = yaml.safe_load(file.read_text())["scrape_configs"]
    assert scrape["job_name"] == "vmafx-sidecar"
    assert scrape["static_configs"] == [{"targets": ["sidecar:9091"]}]
    for source in (file, DEPLOY / "prometheus" / "alerts.yaml"):
        shutil.copy(source, tmp_path)
    subprocess.run([tool("promtool"), "check", "config", str(tmp_path / file.name)], check=True, capture_output=True)
