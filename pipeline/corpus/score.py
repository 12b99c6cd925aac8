"""Encode a reference and score it: libvmaf's features and three scores, in one pass over the frames."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from pipeline.corpus import ffmpeg
from pipeline.corpus.pairs import PRESETS, Limits, Pair, Rung, Video
from pipeline.corpus.table import FEATURES, CorpusError

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
    width, height = _lossless(pair.reference, limits, directory / "reference.mkv")
    if isinstance(pair.distorted, Rung):
        distorted = _encode(pair.distorted, directory)
    else:
        distorted = directory / "distorted.mkv"
        _lossless(pair.distorted, limits, distorted)
    columns = _compare(distorted, width, height, limits.measure, directory)
    return Scored(columns, width, height, distorted.stat().st_size)


def _lossless(video: Video, limits: Limits, output: Path) -> tuple[int, int]:
    """Write the frames that are used, and return their width and height."""
    scale = f"scale=-2:2*trunc(min({limits.height}\\,ih)/2),format=yuv420p"
    filters = ",".join(filter(None, (video.filter, scale)))
    coding = ["-an", "-frames:v", str(limits.frames), "-c:v", "ffv1", "-threads", "1"]
    log = ffmpeg.run([*video.arguments, "-vf", filters, *coding, output.name], output.parent)
    sizes = re.findall(r"Video: ffv1.*?, (\d+)x(\d+)", log)
    if not sizes:
        raise CorpusError("ffmpeg does not say how large the video is")
    return int(sizes[-1][0]), int(sizes[-1][1])


def _encode(rung: Rung, directory: Path) -> Path:
    output = directory / "distorted.mkv"
    coding = ["-c:v", rung.codec, "-preset", PRESETS[rung.codec], "-crf", str(rung.crf), "-threads", "1"]
    ffmpeg.run(["-i", "reference.mkv", *coding, output.name], directory)
    return output


def _compare(
    distorted: Path, width: int, height: int, measure: Sequence[str], directory: Path
) -> dict[str, list[float]]:
    """Run libvmaf: first input distorted, second reference, both at the reference's size.

    Where it is to measure more, all that it logs beside the usual columns follows them, under its own names.
    """
    clock = "format=yuv420p,settb=AVTB,setpts=N/25/TB"
    features = f":feature='{'|'.join(f'name={name}' for name in measure)}'" if measure else ""
    graph = (
        f"[0:v]scale={width}:{height}:flags=bicubic,{clock}[d];[1:v]{clock}[r];[d][r]"
        f"libvmaf=model='{MODELS}'{features}:log_fmt=json:log_path=scores.json:n_threads=1:shortest=1"
    )
    ffmpeg.run(["-i", distorted.name, "-i", "reference.mkv", "-lavfi", graph, "-f", "null", "-"], directory)
    frames: list[dict[str, Any]] = msgspec.json.decode((directory / "scores.json").read_bytes())["frames"]
    if not frames:
        raise CorpusError("libvmaf scored no frame")
    logged = [key for key in frames[0]["metrics"] if key not in _METRICS] if measure else []
    columns = _METRICS | {key: key for key in logged}
    return {column: [frame["metrics"][key] for frame in frames] for key, column in columns.items()}
