"""The wheel and the sdist, built and installed where nothing else of the repository can be seen."""

import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pipeline
from tests.deploy.charts import ROOT
from tests.support.waiting import eventually

VERSION = pipeline.__version__


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the wheel and the sdist."""
    directory = tmp_path_factory.mktemp("dist")
    build(ROOT, directory)
    return directory


def build(source: Path, directory: Path) -> None:
    """Build wheel and sdist of `source` into `directory`, with the build backend of pyproject.toml."""
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(directory)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)


def wheel_files(directory: Path) -> set[str]:
    """Return what the wheel in `directory` holds."""
    with zipfile.ZipFile(directory / f"vmafx_sidecar-{VERSION}-py3-none-any.whl") as wheel:
        return set(wheel.namelist())


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the `bin` of an environment that holds the wheel, and sees this one's packages but not the repository."""
    environment = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    python = environment / "bin" / "python"
    (wheel,) = built.glob("*.whl")
    command = [sys.executable, "-m", "pip", "--quiet", "--python", str(python), "install", "--no-deps", "--no-index"]
    subprocess.run([*command, str(wheel)], check=True)
    packages = environment / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return environment / "bin"


def run(installed: Path, directory: Path, *arguments: str) -> str:
    """Run the installed command in `directory`; return what it prints."""
    command = [str(installed / "vmafx-sidecar"), *arguments]
    return subprocess.run(command, cwd=directory, env=clean(), check=True, capture_output=True, text=True).stdout


def clean() -> dict[str, str]:
    """Return an environment without what could lead to the repository."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("VMAFX_", "PYTHON"))}


def test_wheel_is_complete(built: Path) -> None:
    """The wheel holds every module, and every file that the program reads."""
    holds = wheel_files(built)
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "pipeline").rglob("*.py")}
    assert modules <= holds
    assert {"pipeline/py.typed", "pipeline/supervisord.conf"} <= holds
    assert {f"pipeline/data/{name}" for name in ("corpus.npz", "base_model.onnx", "base_model.json")} <= holds
    assets = {str(path.relative_to(ROOT)) for path in (ROOT / "pipeline" / "monitor" / "assets").iterdir()}
    assert "pipeline/monitor/assets/page.html" in assets <= holds
    assert not [name for name in holds if not name.startswith(("pipeline/", "vmafx_sidecar-"))]


def test_the_licence_is_in_both(built: Path) -> None:
    """Its text is in the wheel and in the sdist, and the metadata name it."""
    text, about = (ROOT / "LICENSE").read_bytes(), f"vmafx_sidecar-{VERSION}"
    with zipfile.ZipFile(built / f"{about}-py3-none-any.whl") as wheel:
        assert wheel.read(f"{about}.dist-info/licenses/LICENSE") == text
        assert b"License-Expression: BSD-3-Clause\nLicense-File: LICENSE\n" in wheel.read(f"{about}.dist-info/METADATA")
    with tarfile.open(built / f"{about}.tar.gz") as sdist:
        packed = sdist.extractfile(f"{about}/LICENSE")
        assert packed is not None
        assert packed.read() == text


def test_the_base_installation_has_no_torch(built: Path) -> None:
    """torch, plots, corpora and registries are extras; `all` brings what each of them brings."""
    with zipfile.ZipFile(built / f"vmafx_sidecar-{VERSION}-py3-none-any.whl") as wheel:
        metadata = wheel.read(f"vmafx_sidecar-{VERSION}.dist-info/METADATA").decode()
    needed = re.findall(r"^Requires-Dist: ([\w-]+)(?:.*extra == '(\w+)')?", metadata, re.MULTILINE)
    brings = {
        extra: {name for name, of in needed if of == extra}
        for extra in ("", "torch", "plot", "corpus", "registry", "fleet", "all")
    }
    assert "onnxruntime" in brings[""]
    assert not brings[""] & {"torch", "matplotlib", "pyarrow"}
    each = brings["torch"] | brings["plot"] | brings["corpus"] | brings["registry"] | brings["fleet"]
    assert {"torch", "matplotlib", "pyarrow", "obstore"} <= each == brings["all"]


def test_sdist_gives_the_same_wheel(built: Path, tmp_path: Path) -> None:
    """From the sdist the same wheel can be built, and the image and the chart too."""
    with tarfile.open(built / f"vmafx_sidecar-{VERSION}.tar.gz") as sdist:
        sdist.extractall(tmp_path, filter="data")
    source = tmp_path / f"vmafx_sidecar-{VERSION}"
    build(source, tmp_path)
    assert wheel_files(tmp_path) == wheel_files(built)
    assert (source / ".dockerignore").exists()
    assert "groups:" in (source / "deploy/helm/vmafx-sidecar/files/alerts.yaml").read_text()


def test_version_has_one_source(built: Path, installed: Path, tmp_path: Path) -> None:
    """The package's version is the one in pipeline/__init__.py, in the metadata and on the command line."""
    assert run(installed, tmp_path, "--version").split()[-1] == VERSION
    assert f"vmafx_sidecar-{VERSION}.dist-info/METADATA" in wheel_files(built)


@pytest.fixture
def sidecar(installed: Path, tmp_path: Path) -> Iterator[Path]:
    """Run the installed sidecar; give its socket."""
    socket = tmp_path / "s.sock"
    settings = {
        "VMAFX_SIDECAR_SOCKET": str(socket),
        "VMAFX_SIDECAR_CHECKPOINT_DIR": str(tmp_path / "models"),
        "VMAFX_SIDECAR_HTTP": "127.0.0.1:0",
        "VMAFX_SIDECAR_N_FEATURES": "6",
    }
    command = [str(installed / "vmafx-sidecar"), "run"]
    process = subprocess.Popen(command, cwd=tmp_path, env=clean() | settings, stderr=subprocess.DEVNULL)
    try:
        assert eventually(socket.exists)
        yield socket
    finally:
        process.terminate()
        code = process.wait()
        run(installed, tmp_path, "clean", "--socket", str(socket))
    assert code == 0


def test_installed_command_works(installed: Path, sidecar: Path) -> None:
    """What was installed starts all processes, takes the bundled corpus from the fake node, and serves its page."""
    socket = ("--socket", str(sidecar))
    run(installed, sidecar.parent, "feed", *socket, "--samples", "200", "--rate", "2000", "--checkpoint-dir", "models")

    def status() -> dict[str, Any]:
        command = [str(installed / "vmafx-sidecar"), "status", "--json", *socket]
        shown = subprocess.run(command, cwd=sidecar.parent, env=clean(), check=False, capture_output=True, text=True)
        return dict(json.loads(shown.stdout))

    http = eventually(lambda: status()["healthy"] and status()["monitor"]["http"], explain=status)
    with urllib.request.urlopen(http + "/") as page:  # noqa: S310  http, on loopback
        assert b"<html" in page.read().lower()
