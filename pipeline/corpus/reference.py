"""What can be a reference: a video file, raw YUV, a photograph to pan over, or a lavfi source."""

import re
from dataclasses import dataclass
from pathlib import Path

from pipeline.corpus.table import CorpusError

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


def open_video(text: str, limits: Limits) -> Video:
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
