"""Is the base model what its command makes, whatever the seed and the processor? `make base-model`, fifteen times.

Made with five seeds under three choices of kernels, each by the command on the model's card in a process of its own;
judged by the RMSE on the sources that were left out. Kernels are chosen as MKL and ATen let one: MKL_CBWR=COMPATIBLE
and ATEN_CPU_CAPABILITY=default are those that every processor has.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from pipeline import data

SEEDS = range(5)
KERNELS: dict[str, dict[str, str]] = {
    "the processor's own": {},
    "MKL_CBWR=COMPATIBLE": {"MKL_CBWR": "COMPATIBLE"},
    "ATEN_CPU_CAPABILITY=default": {"ATEN_CPU_CAPABILITY": "default"},
}
_CORPUS = Path(__file__).resolve().parents[2] / "shared" / "data" / "vmaf_frames.parquet"


def made(corpus: Path, seed: int, kernels: dict[str, str]) -> float:
    """Return the RMSE on the left-out sources of a base model made with `seed` under `kernels`."""
    left_out = json.loads(data.BASE_MODEL.with_suffix(".json").read_text())["training"]["left_out"]
    own = {name: value for name, value in os.environ.items() if name not in ("MKL_CBWR", "ATEN_CPU_CAPABILITY")}
    with tempfile.TemporaryDirectory() as directory:
        options = ["--val-source", ",".join(left_out), "--seed", str(seed), "--name", "again", "-o", directory]
        command = [sys.executable, "-m", "pipeline", "train", str(corpus), *options]
        subprocess.run(command, env=own | kernels, stdout=subprocess.DEVNULL, check=True)
        return float(json.loads((Path(directory) / "again.json").read_text())["metrics"]["rmse"])


@click.command()
@click.option("--corpus", default=_CORPUS, type=click.Path(path_type=Path, dir_okay=False), help="Table of frames.")
def main(corpus: Path) -> None:
    """Print the RMSE on left-out sources for each seed and choice of kernels, and the largest over the smallest."""
    print(f"| kernels | {' | '.join(f'seed {seed}' for seed in SEEDS)} |\n|{'---|' * (len(SEEDS) + 1)}")
    rmse: list[float] = []
    for name, kernels in KERNELS.items():
        print(f"| {name} |", end="", flush=True)
        for seed in SEEDS:
            rmse.append(made(corpus, seed, kernels))
            print(f" {rmse[-1]:.4f} |", end="", flush=True)
        print()
    print(f"largest / smallest: {max(rmse) / min(rmse):.3f}")


if __name__ == "__main__":
    main()
