"""A mark for tests that need an ffmpeg with libvmaf."""

import pytest

from pipeline.corpus import ffmpeg
from pipeline.corpus.table import CorpusError


def _missing() -> str:
    """Say why there is none; empty where there is."""
    try:
        ffmpeg.find_ffmpeg()
    except CorpusError as error:
        return str(error)
    return ""


_REASON = _missing()
needs_ffmpeg = pytest.mark.skipif(bool(_REASON), reason=_REASON or "ffmpeg is there")
