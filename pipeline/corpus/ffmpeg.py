"""The ffmpeg that encodes and scores: one with libvmaf, the system's or the one of the package imageio-ffmpeg."""

import functools
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from pipeline.corpus.table import CorpusError


@functools.cache
def find_ffmpeg() -> str:
    """Return the path of an ffmpeg with libvmaf; CorpusError where there is none."""
    found = next((path for path in (shutil.which("ffmpeg"), _packaged()) if path and _has_libvmaf(path)), None)
    if found is None:
        raise CorpusError("no ffmpeg with libvmaf: pip install 'vmafx-sidecar[corpus]' brings one")
    return found


def version(ffmpeg: str) -> str:
    """Return the first line that ffmpeg says of itself."""
    return _output(ffmpeg, "-version").splitlines()[0]


def run(arguments: Sequence[str], directory: Path) -> str:
    """Run ffmpeg in `directory` and return what it logged; CorpusError with its last line where it fails."""
    command = [find_ffmpeg(), "-hide_banner", "-nostdin", "-y", *arguments]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise CorpusError(f"ffmpeg failed: {last}")
    return done.stderr


def _packaged() -> str | None:
    try:
        import imageio_ffmpeg
    except ImportError:
        return None
    path: str = imageio_ffmpeg.get_ffmpeg_exe()
    return path


def _has_libvmaf(ffmpeg: str) -> bool:
    return " libvmaf " in _output(ffmpeg, "-filters")


def _output(ffmpeg: str, option: str) -> str:
    return subprocess.run([ffmpeg, "-hide_banner", option], capture_output=True, text=True, check=False).stdout
