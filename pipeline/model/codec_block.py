"""The codec block: the second input of the models that know how a frame was encoded.

It is one-hot over a vocabulary of encoders, then the preset and the CRF, each scaled to 0..1. The numbers are those
that the platform trains such models with: a preset is its place among ten, from the fastest to the slowest, divided by
9, and 5/9 where it is not known; a CRF is divided by 63, the largest that any of the encoders takes, and is 23 where it
is not known (NaN or negative).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

_ONE_HOT = re.compile(r"encoder_onehot\[(.+)\]")
_PRESET, _CRF = "preset_norm", "crf_norm"
_UNKNOWN = "unknown"

_ALIASES = {
    "h264": "libx264",
    "x264": "libx264",
    "hevc": "libx265",
    "x265": "libx265",
    "av1": "libsvtav1",
    "vvc": "libvvenc",
    "vp9": "libvpx-vp9",
}
_SLOWEST, _USUAL = 9, 5
_LARGEST_CRF, _USUAL_CRF = 63, 23
_X26X = ["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo"]
_NVENC = {"p1": 0, "p2": 2, "p3": 3, "p4": 5, "p5": 6, "p6": 7, "p7": 9}
_PRESETS: dict[str, Mapping[str, int]] = {
    "libsvtav1": {str(number): min(number, _SLOWEST) for number in range(14)},
    "libvvenc": {"faster": 1, "fast": 3, "medium": 5, "slow": 7, "slower": 8},
    "libvpx-vp9": {"realtime": 0, "good": 5, "best": 9},
    **{f"{codec}_nvenc": _NVENC for codec in ("h264", "hevc", "av1")},
    **{name: {preset: place for place, preset in enumerate(_X26X)} for name in ("libx264", "libx265")},
    **{f"{codec}_qsv": {preset: _X26X.index(preset) for preset in _X26X[2:9]} for codec in ("h264", "hevc", "av1")},
}


def layout(encoders: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the block of a vocabulary, in their order."""
    return (*(f"encoder_onehot[{encoder}]" for encoder in encoders), _PRESET, _CRF)


def column_for(name: str) -> str:
    """Return which column of a table the block's value `name` is made of; empty where it is no part of a block."""
    if _ONE_HOT.fullmatch(name):
        return "codec"
    return {_PRESET: "preset", _CRF: "crf"}.get(name, "")


def block_column(
    name: str, names: Sequence[str], columns: Mapping[str, npt.NDArray[np.generic]], rows: int
) -> npt.NDArray[np.float64]:
    """Return the values [rows] of one place of the block that `names` hold, from the columns codec, preset and crf."""
    if name == _CRF:
        crf = columns["crf"].astype(np.float64)
        return np.where(crf >= 0, crf, _USUAL_CRF) / _LARGEST_CRF
    if name == _PRESET:
        return _presets(columns, rows)
    vocabulary = [match.group(1) for match in map(_ONE_HOT.fullmatch, names) if match]
    wanted = _ONE_HOT.fullmatch(name)
    codecs, index = np.unique(columns["codec"], return_inverse=True)
    hot = [wanted is not None and _known(str(codec), vocabulary) == wanted.group(1) for codec in codecs]
    return np.array(hot, np.float64)[index]


def _presets(columns: Mapping[str, npt.NDArray[np.generic]], rows: int) -> npt.NDArray[np.float64]:
    if "preset" not in columns or "codec" not in columns:
        return np.full(rows, _USUAL / _SLOWEST)
    codecs, codec = np.unique(columns["codec"], return_inverse=True)
    presets, preset = np.unique(columns["preset"].astype(np.str_), return_inverse=True)
    table = [[_PRESETS.get(_plain(str(c)), {}).get(str(p), _USUAL) for p in presets] for c in codecs]
    return np.array(table, np.float64)[codec, preset] / _SLOWEST


def _plain(codec: str) -> str:
    name = codec.strip().lower()
    return _ALIASES.get(name, name)


def _known(codec: str, vocabulary: Sequence[str]) -> str:
    name = _plain(codec)
    return name if name in vocabulary else _UNKNOWN
