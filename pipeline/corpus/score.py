"""Encode a reference and score it: libvmaf's features and three scores, in one pass over the frames."""

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from pipeline.corpus import ffmpeg
from pipeline.corpus.pairs import PRESETS, Limits, Pair, Rung, Video
from pipeline.corpus.table import FEATURES, CorpusError
from pipeline.libvmaf.block import LogError
from pipeline.libvmaf.problems import Problems
from pipeline.libvmaf.reader import LogReader

MODELS = r"version=vmaf_v0.6.1|version=vmaf_v0.6.1neg\:name=neg|version=vmaf_v0.6.1\:name=phone\:enable_transform=true"
_METRICS = {
    **{f"integer_{name}": name for name in FEATURES},
    "vmaf": "vmaf",
    "neg": "vmaf_neg",
    "phone": "vmaf_phone",
}


class Scored(msgspec.Struct):
    """What was measured of one pair: columns of one value per frame, the size, and the encoded bytes."""

    columns: dict[str, list[float]]
    width: int
    height: int
    bytes: int


def score(pair: Pair, limits: Limits, directory: Path) -> Scored:
    """Prepare, encode and score `pair` with scratch files in `directory`; CorpusError where ffmpeg fails."""
    reference, distorted, log = (directory / name for name in ("reference.mkv", "distorted.mkv", "scores.json"))
    width, height = lossless(pair.reference, limits, reference)
    if isinstance(pair.distorted, Rung):
        encode(pair.distorted, reference, distorted)
    else:
        lossless(pair.distorted, limits, distorted)
    compare(distorted, reference, (width, height), log, measure=limits.measure)
    return Scored(_columns(log, everything=bool(limits.measure)), width, height, distorted.stat().st_size)


def lossless(video: Video, limits: Limits, output: Path) -> tuple[int, int]:
    """Write the frames that are used, and return their width and height."""
    scale = f"scale=-2:2*trunc(min({limits.height}\\,ih)/2),format=yuv420p"
    filters = ",".join(filter(None, (video.filter, scale)))
    coding = ["-an", "-frames:v", str(limits.frames), "-c:v", "ffv1", "-threads", "1"]
    log = ffmpeg.run([*video.arguments, "-vf", filters, *coding, output.name], output.parent)
    sizes = re.findall(r"Video: ffv1.*?, (\d+)x(\d+)", log)
    if not sizes:
        raise CorpusError("ffmpeg does not say how large the video is")
    return int(sizes[-1][0]), int(sizes[-1][1])


def encode(rung: Rung, reference: Path, output: Path) -> None:
    """Encode a reference with one encoder and CRF; CorpusError where ffmpeg fails."""
    coding = ["-c:v", rung.codec, "-preset", PRESETS[rung.codec], "-crf", str(rung.crf), "-threads", "1"]
    ffmpeg.run(["-i", str(reference.absolute()), *coding, output.name], output.parent)


def compare(
    distorted: Path,
    reference: Path,
    size: tuple[int, int],
    log: Path,
    models: str = MODELS,
    measure: Sequence[str] = (),
) -> None:
    """Run libvmaf at the reference's `size`, width and height, and let it write its log, in JSON.

    First input distorted, second reference. `measure` is what libvmaf computes beside its models' features. CorpusError
    where ffmpeg fails.
    """
    features = f":feature='{'|'.join(f'name={name}' for name in measure)}'" if measure else ""
    clock = "format=yuv420p,settb=AVTB,setpts=N/25/TB"
    graph = (
        f"[0:v]scale={size[0]}:{size[1]}:flags=bicubic,{clock}[d];[1:v]{clock}[r];[d][r]"
        f"libvmaf=model='{models}'{features}:log_fmt=json:log_path={log.name}:n_threads=1:shortest=1"
    )
    inputs = ["-i", str(distorted.absolute()), "-i", str(reference.absolute())]
    ffmpeg.run([*inputs, "-lavfi", graph, "-f", "null", "-"], log.parent)


def _columns(log: Path, *, everything: bool) -> dict[str, list[float]]:
    """Return the usual columns of a log that ffmpeg has just written, and where asked for the others after them.

    CorpusError where a value of the usual ones is not there.
    """
    problems = Problems()

    def choose(names: Sequence[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*_METRICS, *(names if everything else ()))))

    reader = LogReader(log, choose, problems)
    try:
        blocks = [*reader.blocks(), *reader.close()]
    except LogError as error:
        raise CorpusError(f"libvmaf's log {error}") from None
    columns = {key: np.concatenate([block.columns[key] for block in blocks]) for key in blocks[0].columns}
    gaps = [name for name in _METRICS if not np.isfinite(columns[name]).all()]
    if gaps or problems:
        raise CorpusError(f"libvmaf's log lacks values of {', '.join(gaps) or 'some frames'}")
    return {_METRICS.get(name, name): values.tolist() for name, values in columns.items()}
