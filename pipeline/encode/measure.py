"""One encode: made, its features measured, then its score, each by a run of ffmpeg."""

from __future__ import annotations

from pathlib import Path

from pipeline.corpus.pairs import PRESETS, Limits, Pair, Rung
from pipeline.corpus.score import compare, encode, lossless
from pipeline.libvmaf.naming import Detail

_PLAIN = "version=vmaf_v0.6.1"
MODELS = {
    "vmaf": _PLAIN,
    "vmaf_neg": rf"{_PLAIN}|version=vmaf_v0.6.1neg\:name=vmaf_neg",
    "vmaf_phone": rf"{_PLAIN}\:name=vmaf_phone\:enable_transform=true",
}
"""By target, libvmaf's models that give a column of its name, and the features of the plain model beside it."""

FRAME_RATE = 25.0
"""Frames a second at which everything is compared."""


class Encodes:
    """Makes encodes in `directory`, and logs of them in `logs`; CorpusError where ffmpeg fails."""

    def __init__(self, limits: Limits, target: str, directory: Path, logs: Path) -> None:
        self._limits = limits
        self._target = target
        self._directory = directory
        self._logs = logs
        self._sizes: dict[str, tuple[int, int]] = {}

    def make(self, pair: Pair) -> Encode:
        """Encode a reference at one rung."""
        reference = self._directory / f"{pair.source}.mkv"
        if pair.source not in self._sizes:
            self._sizes[pair.source] = lossless(pair.reference, self._limits, reference)
        output = self._directory / "encode.mkv"
        if isinstance(pair.distorted, Rung):
            encode(pair.distorted, reference, output)
        else:
            lossless(pair.distorted, self._limits, output)
        return Encode(pair, reference, output, self._sizes[pair.source], self._target, self._logs)


class Encode:
    """An encode that waits to be measured."""

    def __init__(
        self, pair: Pair, reference: Path, output: Path, size: tuple[int, int], target: str, logs: Path
    ) -> None:
        self.pair = pair
        self._reference = reference
        self._output = output
        self._size = size
        self._target = target
        self._logs = logs

    def features(self) -> Path:
        """Measure the features alone, as far as libvmaf can: the score beside them is of the plain model."""
        log = self._output.with_name("features.json")
        compare(self._output, self._reference, self._size, log, _PLAIN)
        return log

    def score(self) -> Path:
        """Measure the target, too; return the log, which is kept."""
        log = self._logs / f"{self.pair.source}_{self.pair.label}.json"
        compare(self._output, self._reference, self._size, log, MODELS[self._target])
        return log

    def details(self, frames: int) -> dict[str, Detail]:
        """Return the fields of the wire that are known of it; `frames` says how long it is."""
        known: dict[str, Detail] = {
            "job_id": f"{self.pair.source}_{self.pair.label}",
            "source_id": self.pair.source,
            "width": self._size[0],
            "height": self._size[1],
            "frame_rate": FRAME_RATE,
            "achieved_bitrate_kbps": self._output.stat().st_size * 8 / 1000 / (frames / FRAME_RATE),
            "backend": "ffmpeg",
            "node_id": "encode",
        }
        if isinstance(rung := self.pair.distorted, Rung):
            known |= {"codec": rung.codec, "preset": PRESETS[rung.codec], "crf": float(rung.crf)}
        return known
