"""What an installation without the extras does, and what it says of the rest."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from pipeline.cli import COMMANDS
from pipeline.data import BASE_MODEL, CORPUS
from pipeline.runtime.lifecycle import ExitCode
from tests.support.graphs import elu
from tests.support.sidecar import COMMAND, QUICK, Sidecar, running
from tests.support.stream import Stream

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
ABSENT = str(Path(__file__).parent / "absent")
BARE = {"PYTHONPATH": ABSENT, "VMAFX_TEST_ABSENT": "torch matplotlib pyarrow imageio_ffmpeg"}
TORCH = "needs torch (pip install 'vmafx-sidecar[torch]', or the full image)"
PLOT = "needs matplotlib (pip install 'vmafx-sidecar[plot]')"
CORPUS_EXTRA = "needs pyarrow (pip install 'vmafx-sidecar[corpus]')"


def command(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run `vmafx-sidecar` without any extra."""
    environ = os.environ | BARE | {"PYTHONPATH": f"{ABSENT}{os.pathsep}{ROOT}"}
    return subprocess.run([*COMMAND, *arguments], cwd=cwd, env=environ, capture_output=True, text=True, check=False)


def test_the_packages_are_absent() -> None:
    """The tests below test something: nothing of an extra can be imported."""
    for name in BARE["VMAFX_TEST_ABSENT"].split():
        done = subprocess.run(
            [sys.executable, "-c", f"import {name}"], env=os.environ | BARE, capture_output=True, text=True, check=False
        )
        assert f"No module named '{name}'" in done.stderr


def test_a_plain_perceptron_needs_no_extra(tmp_path: Path) -> None:
    """A sidecar trains and publishes, and says why not on CUDA."""
    settings = QUICK | BARE | {"VMAFX_BASE_MODEL_PATH": str(BASE_MODEL), "VMAFX_SIDECAR_CUDA": "1"}
    with running(tmp_path, **settings) as sidecar:
        with Stream(sidecar) as stream:
            stream.wait_for_more(400)
        sidecar.wait_for(lambda: sidecar.reported().exporter.version > 0)
        report = sidecar.reported().trainer
        assert (report.device, report.learner) == ("cpu", "MlpLearner")
        assert report.device_note == f"VMAFX_SIDECAR_CUDA=1, but CUDA {TORCH}: training on the CPU"


def elu_graph(directory: Path) -> Path:
    """Return the file of a model that is no plain perceptron."""
    onnx.save(elu(), directory / "elu.onnx")
    return directory / "elu.onnx"


def state_dict(directory: Path) -> Path:
    """Return a file that only torch can read."""
    path = directory / "base.pt"
    path.touch()
    return path


@pytest.mark.parametrize("base", [elu_graph, state_dict])
def test_a_base_model_that_needs_torch_is_refused_by_name(base: Callable[[Path], Path], tmp_path: Path) -> None:
    """The sidecar ends as for any base model that it cannot use, and says what would help."""
    path = base(tmp_path)
    with Sidecar(tmp_path, **QUICK, **BARE, VMAFX_BASE_MODEL_PATH=str(path)) as sidecar:
        assert sidecar.launch().wait(60) == ExitCode.BASE_MODEL_UNUSABLE
    assert f"VMAFX_BASE_MODEL_PATH: {path.name}: " in sidecar.log()
    assert TORCH in sidecar.log()
    assert "Traceback" not in sidecar.log()


def test_every_command_explains_itself() -> None:
    """`--help` needs no extra."""
    code = "from pipeline.cli import cli; import sys; [cli([name, '--help'], 'vmafx-sidecar', standalone_mode=False) "
    done = subprocess.run(
        [sys.executable, "-c", f"{code} for name in sys.argv[1:]]", *COMMANDS],
        cwd=ROOT, env=os.environ | BARE, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for name in COMMANDS:
        assert f"Usage: vmafx-sidecar {name}" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("demo",), f"the plot {PLOT}"),
        (("plot",), f"the plot {PLOT}"),
        (("train", str(CORPUS), "-o", "models"), f"training {TORCH}"),
        (("evaluate", str(BASE_MODEL), str(CORPUS), "-o", "report"), f"a report {PLOT}"),
        (("corpus", "build", "--smoke", "-o", "smoke.parquet"), f"building a corpus {CORPUS_EXTRA}"),
        (("corpus", "pack", "a.parquet", "--stream", "a", "--judge", "b", "-o", "b.npz"), f".parquet {CORPUS_EXTRA}"),
        (("correct", "report", "--codec", "libx264"), f"the plot {PLOT}"),
    ],
    ids=["demo", "plot", "train", "evaluate", "corpus build", "corpus pack", "correct report"],
)
def test_a_command_names_the_extra_that_it_needs(arguments: tuple[str, ...], reason: str, tmp_path: Path) -> None:
    """In one line, with code 1, and before any work is done."""
    (tmp_path / "a.parquet").touch()
    done = command(*arguments, cwd=tmp_path)
    assert done.returncode == ExitCode.FAILED
    assert reason in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == [tmp_path / "a.parquet"]
