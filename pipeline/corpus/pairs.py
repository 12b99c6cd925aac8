"""Which videos are compared: references, and the distorted version of each, a ladder of encodes or files there are.

A reference is a video file, raw YUV, a photograph to pan over, or a lavfi source.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.corpus.table import CorpusError

PRESETS = {"libx264": "veryfast", "libx265": "ultrafast", "libsvtav1": "10"}
"""Encoders of the ladder and the preset that each is run with."""

_STILLS = {".jpg", ".jpeg", ".png"}
_PAN = "crop=iw*2/3:ih*2/3:(iw-ow)*mod(n\\,200)/200:(ih-oh)*mod(n\\,200)/200"


@dataclass(frozen=True)
class Video:
    """Something that ffmpeg reads."""

    name: str
    arguments: tuple[str, ...]
    """Options and input for ffmpeg's command line."""
    identity: str
    """What has to be the same for a cached score to hold."""
    filter: str = ""
    """Applied before anything else."""


@dataclass(frozen=True)
class Limits:
    """How much of each video is used."""

    frames: int
    height: int
    yuv_size: str
    """WIDTHxHEIGHT of raw YUV (yuv420p), which does not say it itself."""
    measure: tuple[str, ...] = ()
    """What libvmaf computes beside its model's features."""


@dataclass(frozen=True)
class Rung:
    """One encode of the ladder."""

    codec: str
    crf: int


@dataclass(frozen=True)
class Pair:
    """A reference and what it is compared with."""

    source: str
    reference: Video
    distorted: Video | Rung

    @property
    def label(self) -> str:
        """A name for messages and files."""
        distorted = self.distorted
        return f"{distorted.codec}-{distorted.crf}" if isinstance(distorted, Rung) else distorted.name


def parse_ladder(steps: Iterable[str]) -> list[Rung]:
    """Read steps such as `libx264:20,28,36`; CorpusError names one that is not of this form."""
    rungs = []
    for step in steps:
        codec, _, factors = step.partition(":")
        if codec not in PRESETS or not all(factor.isdecimal() for factor in factors.split(",")):
            raise CorpusError(f"ladder {step!r}: expected ENCODER:CRF,CRF,… with {' or '.join(PRESETS)}")
        rungs += [Rung(codec, int(factor)) for factor in factors.split(",")]
    return rungs


def find_pairs(texts: Sequence[str], ladder: Sequence[Rung], limits: Limits) -> list[Pair]:
    """Return the pairs of all references; a directory with ref/ and dis/ brings its own distorted files."""
    pairs: list[Pair] = []
    for text in texts:
        if Path(text).is_dir():
            pairs += _laid_out(Path(text), limits)
        else:
            video = _open_video(text, limits)
            pairs += [Pair(video.name, video, rung) for rung in ladder]
    owners = {(pair.source, pair.reference.identity) for pair in pairs}
    sources = [source for source, _ in owners]
    twice = sorted({source for source in sources if sources.count(source) > 1})
    if twice:
        raise CorpusError(f"references of the same name: {', '.join(twice)}; a source needs a name of its own")
    return pairs


def _laid_out(directory: Path, limits: Limits) -> list[Pair]:
    """Pair ref/<source>.* or ref/<source>_*.* with dis/<source>_<quality>_<height>_<kbps>.*."""
    references, distorted = (
        sorted(path for path in directory.glob(f"{name}/*") if path.is_file()) for name in ("ref", "dis")
    )
    if not references or not distorted:
        raise CorpusError(f"{directory}: expected videos in {directory}/ref and {directory}/dis")
    pairs = []
    for path in distorted:
        source, *label = path.stem.rsplit("_", 3)
        if len(label) != 3 or not (label[1].isdecimal() and label[2].isdecimal()):
            raise CorpusError(f"{path}: expected a name like <source>_<quality>_<height>_<kbps>{path.suffix}")
        matching = [each for each in references if each.stem == source or each.stem.startswith(f"{source}_")]
        if len(matching) != 1:
            raise CorpusError(f"{path}: {len(matching)} files in {directory}/ref are named {source} or {source}_…")
        pairs.append(Pair(source, _open_video(str(matching[0]), limits), _open_video(str(path), limits)))
    return pairs


def _open_video(text: str, limits: Limits) -> Video:
    """Make a Video of a path or `lavfi:SOURCE`; CorpusError where there is no such file."""
    if text.startswith("lavfi:"):
        source = text.removeprefix("lavfi:")
        return Video(re.split(r"\W", source)[0], ("-f", "lavfi", "-i", source), text)
    path = Path(text).resolve()
    if not path.is_file():
        raise CorpusError(f"{text}: no such file")
    status = path.stat()
    identity = f"{path}:{status.st_size}:{status.st_mtime_ns}"
    if path.suffix == ".yuv":
        raw = ("-f", "rawvideo", "-pix_fmt", "yuv420p", "-video_size", limits.yuv_size, "-i", str(path))
        return Video(path.stem, raw, f"{identity}:{limits.yuv_size}")
    if path.suffix.lower() in _STILLS:
        return Video(path.stem, ("-loop", "1", "-i", str(path)), identity, _PAN)
    return Video(path.stem, ("-i", str(path)), identity)
