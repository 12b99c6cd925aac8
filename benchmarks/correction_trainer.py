"""A local correction against the sidecar's own trainer, on the same stream of real frames.

    python -m benchmarks.correction_trainer [--plot docs/img/correction_trainer.png]

Needs ../shared/data and ../shared/models, and the extra `corpus`. Both start from vmaf_tiny_v2 and learn another VMAF
model's scores (neg, phone): the correction adds to the base model, the trainer (default recipe, EMA weights) replaces
it. For each of 3 seeds, 6 of the 18 sources are left out; the clips of the others arrive in random order, frame by
frame. Figures are RMSE in score points on the frames of the sources left out, seeds pooled.
"""

from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import pyarrow.parquet
from numpy.typing import NDArray

from pipeline.corpus.read import load_corpus
from pipeline.correction import CorrectionModel, Settings
from pipeline.model.accuracy import rmse
from pipeline.model.graph import load_base_model
from pipeline.model.runtime import OnnxModel
from pipeline.shm.reservoir import Reservoir
from pipeline.shm.ring import Ring
from pipeline.shm.rows import RowBatch
from pipeline.trainer.online import OnlineTraining
from pipeline.trainer.recipe import Recipe

SHARED = Path(__file__).parents[2] / "shared"
FRAMES = SHARED / "data" / "vmaf_frames.parquet"
BASE = SHARED / "models" / "vmaf_tiny_v2.onnx"
SEEDS = range(3)
LEFT_OUT = 6
SAMPLES = (64, 256, 1024, 4096, 12288)
RIDGE = 10.0
"""Frames of a clip are alike, so a frame says less than an encode does, for which the default is 1."""

JUDGED_EVERY = 7
"""Neighbouring frames are alike: every seventh of those left out is enough to judge by."""

Float = NDArray[np.float64]


class Frames(NamedTuple):
    """One row a frame: features float32[n, 6], columns float64[n, 8] (features, CRF, predicted), the rest [n]."""

    features: NDArray[np.float32]
    columns: Float
    targets: dict[str, Float]
    codec: NDArray[np.str_]
    source: NDArray[np.str_]
    clip: NDArray[np.int64]

    def rows(self, which: NDArray[np.intp]) -> "Frames":
        """Return these rows, in that order."""
        targets = {name: values[which] for name, values in self.targets.items()}
        return Frames(
            self.features[which],
            self.columns[which],
            targets,
            self.codec[which],
            self.source[which],
            self.clip[which],
        )


def load_frames() -> Frames:
    """Read all frames and predict them with the base model."""
    corpus = load_corpus(FRAMES)
    crf = pyarrow.parquet.read_table(FRAMES, columns=["crf"])["crf"].to_numpy().astype(float)
    predicted = OnnxModel(BASE).predict(corpus.features).astype(float)
    targets = {name: corpus.target(name).astype(float) for name in ("vmaf_neg", "vmaf_phone")}
    columns = np.column_stack([corpus.features.astype(float), crf, predicted])
    return Frames(corpus.features, columns, targets, corpus.codec, corpus.source, corpus.clip)


def split(frames: Frames, codec: str | None, seed: int) -> tuple[Frames, Frames]:
    """Return the stream and the frames to judge by: all codecs where `codec` is None."""
    rng = np.random.default_rng(seed)
    left_out = np.isin(frames.source, rng.choice(np.unique(frames.source), LEFT_OUT, replace=False))
    mine = np.ones(len(frames.clip), bool) if codec is None else frames.codec == codec
    order = rng.permutation(frames.clip.max() + 1)[frames.clip]
    streamed = np.flatnonzero(mine & ~left_out)
    judged = np.flatnonzero(mine & left_out)[::JUDGED_EVERY]
    return frames.rows(streamed[np.argsort(order[streamed], kind="stable")]), frames.rows(judged)


def running_mean(stream: Frames, judged: Frames, target: str) -> list[float]:
    """Errors after each number of SAMPLES with the mean residual added."""
    residuals = stream.targets[target] - stream.columns[:, -1]
    means = [residuals[:n].mean() for n in SAMPLES]
    return [rmse(np.clip(judged.columns[:, -1] + mean, 0, 100), judged.targets[target]) for mean in means]


def corrected(stream: Frames, judged: Frames, target: str) -> list[float]:
    """Errors after each number of SAMPLES with a local correction."""
    model = CorrectionModel(stream.columns.shape[1], Settings(ridge=RIDGE))
    residuals = stream.targets[target] - stream.columns[:, -1]
    errors = []
    for number, (row, residual) in enumerate(zip(stream.columns, residuals, strict=True), start=1):
        model.update(row, residual)
        if number in SAMPLES:
            added = [model.correction(judged_row) for judged_row in judged.columns]
            errors.append(rmse(np.clip(judged.columns[:, -1] + added, 0, 100), judged.targets[target]))
    return errors


def trained(stream: Frames, judged: Frames, target: str, seed: int) -> list[float]:
    """Errors after each number of SAMPLES of the trainer's EMA weights."""
    base = load_base_model(BASE)
    ring = Ring.private(10_000, base.n_features)
    reservoirs = [Reservoir.private(capacity, base.n_features) for capacity in (10_000, 2_000)]
    for reservoir in reservoirs:
        reservoir.open_writer()
    training = OnlineTraining(base, Recipe(), ring, *reservoirs, seed=seed)
    groups = np.unique(stream.source, return_inverse=True)[1] * 8 + 1  # a group that is never held out
    errors = []
    row = RowBatch(1, base.n_features)
    for number, (features, score, group) in enumerate(
        zip(stream.features, stream.targets[target], groups, strict=True), start=1
    ):
        row.features[0], row.score[0], row.group[0], row.key[0] = features, score, group, number
        ring.extend(row)
        if number % 16 == 0:
            training.advance(16)
        if number in SAMPLES:
            model = OnnxModel(base.with_weights(training.export_vector()))
            errors.append(rmse(np.clip(model.predict(judged.features), 0, 100), judged.targets[target]))
    return errors


def compare(frames: Frames, codec: str | None, target: str) -> dict[str, Float]:
    """RMSE by method after each number of SAMPLES."""
    runs: dict[str, list[list[float]]] = {}
    for seed in SEEDS:
        stream, judged = split(frames, codec, seed)
        stream = stream.rows(np.arange(max(SAMPLES)))
        before = rmse(judged.columns[:, -1], judged.targets[target])
        errors = {
            "base model": [before] * len(SAMPLES),
            "running mean": running_mean(stream, judged, target),
            "correction": corrected(stream, judged, target),
            "trainer": trained(stream, judged, target, seed),
        }
        for name, values in errors.items():
            runs.setdefault(name, []).append(values)
    return {name: np.sqrt(np.mean(np.square(values), axis=0)) for name, values in runs.items()}


def draw(results: dict[tuple[str, str], dict[str, Float]], path: Path) -> None:
    """One panel for each target and stream."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 6), layout="constrained")
    panels = figure.subplots(2, len(results) // 2, sharex=True, sharey="row").flat
    for axes, ((target, stream), errors) in zip(panels, results.items(), strict=True):
        for name, values in errors.items():
            axes.plot(SAMPLES, values, marker=".", label=name)
        axes.set(title=f"{target}, {stream}", xscale="log", yscale="log", xticks=SAMPLES, xticklabels=SAMPLES)
        axes.grid(alpha=0.3)
    figure.supxlabel("samples learned from")
    figure.supylabel("RMSE on sources never seen")
    figure.axes[0].legend()
    figure.savefig(path)


@click.command()
@click.option("--plot", type=click.Path(path_type=Path), help="Also draw the curves into this file.")
def main(plot: Path | None) -> None:
    """Print the table."""
    if not FRAMES.exists():
        raise click.ClickException(f"{FRAMES} is needed and not there")
    frames = load_frames()
    print(f"{'target':<12}{'stream':<12}{'':<14}" + "".join(f"{n:>8}" for n in SAMPLES) + "  samples")
    results = {}
    for target in frames.targets:
        for codec in (None, *np.unique(frames.codec).tolist()):
            stream = codec or "all codecs"
            results[target, stream] = compare(frames, codec, target)
            for name, errors in results[target, stream].items():
                print(f"{target:<12}{stream:<12}{name:<14}" + "".join(f"{error:>8.2f}" for error in errors))
    if plot:
        draw(results, plot)


if __name__ == "__main__":
    main()
