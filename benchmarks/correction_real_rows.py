"""What a local correction is worth on real encodes: the error before and after, on sources it has never seen.

    python -m benchmarks.correction_real_rows [--plot docs/img/correction_real_rows.png]

Needs ../shared/data and ../shared/models, and the extra `corpus`. The predictor is vmaf_tiny_v2, the truth another
VMAF model than the one it was trained for (neg, phone). A capture is one encode: its mean features, its CRF, its mean
scores. For each codec and each of 8 seeds, 6 of the 18 sources are left out, and captures of the other 12 arrive in
random order. Figures are RMSE in score points over all encodes of the sources left out, seeds pooled.
"""

from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import pyarrow.parquet
from numpy.typing import NDArray

from pipeline.corpus.read import load_corpus
from pipeline.correction import Observation, Settings
from pipeline.correction.correction import Correction
from pipeline.model.accuracy import rmse
from pipeline.model.runtime import OnnxModel

SHARED = Path(__file__).parents[2] / "shared"
FRAMES = SHARED / "data" / "vmaf_frames.parquet"
MODEL = SHARED / "models" / "vmaf_tiny_v2.onnx"
SEEDS = range(8)
LEFT_OUT = 6
CAPTURES = (10, 20, 40, 80, 130)

Array = NDArray[np.float64]


class Encodes(NamedTuple):
    """One row an encode, arrays of length n; features float64[n, 6]."""

    features: Array
    crf: Array
    predicted: Array
    targets: dict[str, Array]
    codec: NDArray[np.str_]
    source: NDArray[np.str_]

    def observations(self, target: str) -> list[Observation]:
        """Return the captures against one target."""
        columns = (self.features.tolist(), self.crf.tolist(), self.predicted.tolist(), self.targets[target].tolist())
        return [Observation(*capture) for capture in zip(*columns, strict=True)]


def load_encodes() -> Encodes:
    """Average the frames of each clip."""
    corpus = load_corpus(FRAMES)
    clips, first, index = np.unique(corpus.clip, return_index=True, return_inverse=True)
    counts = np.bincount(index)

    def mean(values: NDArray[np.float32]) -> Array:
        return np.asarray(np.bincount(index, values, minlength=len(clips)) / counts)

    crf = pyarrow.parquet.read_table(FRAMES, columns=["crf"])["crf"].to_numpy().astype(float)
    return Encodes(
        np.column_stack([mean(column) for column in corpus.features.T]),
        crf[first],
        mean(OnnxModel(MODEL).predict(corpus.features)),
        {name: mean(corpus.target(name)) for name in ("vmaf_neg", "vmaf_phone")},
        corpus.codec[first],
        corpus.source[first],
    )


def curves(encodes: Encodes, codec: str, target: str) -> dict[str, list[float]]:
    """RMSE on the sources left out, after each number of CAPTURES, of no correction and of three kinds of it."""
    squares: dict[str, list[list[float]]] = {}
    captures = encodes.observations(target)
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        left_out = np.isin(encodes.source, rng.choice(np.unique(encodes.source), LEFT_OUT, replace=False))
        mine = encodes.codec == codec
        stream = [captures[i] for i in rng.permutation(np.flatnonzero(mine & ~left_out))]
        judged = [captures[i] for i in np.flatnonzero(mine & left_out)]
        for name, errors in one_run(stream, judged).items():
            squares.setdefault(name, []).append([error**2 for error in errors])
    return {name: np.sqrt(np.mean(runs, axis=0)).tolist() for name, runs in squares.items()}


def one_run(stream: list[Observation], judged: list[Observation]) -> dict[str, list[float]]:
    """Learn the stream in order; return the errors after each number of CAPTURES."""
    observed = [capture.observed for capture in judged]
    before = rmse([capture.predicted for capture in judged], observed)
    errors: dict[str, list[float]] = {"before": [before] * len(CAPTURES), "running mean": []}
    for n in CAPTURES:
        mean = float(np.mean([capture.observed - capture.predicted for capture in stream[:n]]))
        shifted = np.clip([capture.predicted + mean for capture in judged], 0, 100)
        errors["running mean"].append(rmse(shifted, observed))
    for name, quadratic in (("linear", False), ("quadratic", True)):
        correction = Correction(Settings(quadratic=quadratic))
        errors[name] = []
        for number, capture in enumerate(stream, start=1):
            correction.record(capture)
            if number in CAPTURES:
                corrected = [correction.apply(capture).corrected for capture in judged]
                errors[name].append(rmse(corrected, observed))
    return errors


def draw(results: dict[tuple[str, str], dict[str, list[float]]], path: Path) -> None:
    """One panel for each target and codec."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6), layout="constrained")
    panels = figure.subplots(2, len(results) // 2, sharex=True, sharey="row").flat
    for axes, ((target, codec), errors) in zip(panels, results.items(), strict=True):
        for name, values in errors.items():
            axes.plot(CAPTURES, values, marker=".", label=name)
        axes.set(title=f"{target}, {codec}", xscale="log", xticks=CAPTURES, xticklabels=CAPTURES)
        axes.grid(alpha=0.3)
    for axes in figure.axes:
        axes.set_ylim(bottom=0)
    figure.supxlabel("captures learned from")
    figure.supylabel("RMSE on sources never seen")
    figure.axes[0].legend()
    figure.savefig(path)


@click.command()
@click.option("--plot", type=click.Path(path_type=Path), help="Also draw the curves into this file.")
def main(plot: Path | None) -> None:
    """Print the table."""
    if not FRAMES.exists():
        raise click.ClickException(f"{FRAMES} is needed and not there")
    encodes = load_encodes()
    print(f"{'target':<12}{'codec':<12}{'':<14}" + "".join(f"{n:>8}" for n in CAPTURES) + "  captures")
    results = {}
    for target in encodes.targets:
        for codec in np.unique(encodes.codec).tolist():
            results[target, codec] = curves(encodes, codec, target)
            for name, errors in results[target, codec].items():
                print(f"{target:<12}{codec:<12}{name:<14}" + "".join(f"{error:>8.2f}" for error in errors))
    if plot:
        draw(results, plot)


if __name__ == "__main__":
    main()
