"""The corrections of one predictor version on disk, shared by every process of this user."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from pipeline.correction import files
from pipeline.correction.captures import CorrectionError, Observation, Outcome
from pipeline.correction.correction import Correction
from pipeline.correction.model import Settings
from pipeline.correction.state import CorruptState, OutdatedState, decode, encode

_logger = logging.getLogger(__name__)


class Refusal(msgspec.Struct, frozen=True):
    """A line that was left out: its number, from 1, and why."""

    line: int
    reason: str


class BatchResult(msgspec.Struct, frozen=True):
    """How many lines were learned from, and those that were not."""

    recorded: int
    refused: list[Refusal]


class CorrectionStore:
    """Reads and changes the state of each codec's correction.

    Reading takes no lock: a state file is only ever replaced whole. Changing is a read-modify-write under
    the lock beside the file, so that of captures recorded at the same time none is lost. A file that cannot
    be used is set aside with a warning (logger `pipeline.correction.store`), and learning starts afresh.
    """

    def __init__(self, predictor_version: str, cache_dir: Path | None = None, settings: Settings | None = None) -> None:
        self.predictor_version = files.path_component("predictor version", predictor_version)
        self.cache_dir = cache_dir or files.default_cache_dir()
        self.settings = settings or Settings()

    def path(self, codec: str) -> Path:
        """Return where the state of this codec lies.

        Raises:
            CorrectionError: the codec is not a plain name.

        """
        return files.state_path(self.cache_dir, self.predictor_version, codec)

    def load(self, codec: str) -> Correction:
        """Return what was learned for this codec; an empty correction where nothing was.

        Raises:
            CorrectionError: the codec is not a plain name.
            OSError: the file is there and cannot be read, or cannot be set aside.

        """
        path = self.path(codec)
        try:
            return self._read(path)
        except (CorruptState, OutdatedState):
            with files.locked(path):
                return self._read_or_set_aside(path)

    def record(self, codec: str, observation: Observation) -> tuple[Correction, Outcome]:
        """Learn from one capture; on return it is on disk.

        Raises:
            CorrectionError: the codec is not a plain name, or the observation is refused.
            OSError: the state cannot be read or written; the capture is not recorded then.

        """
        with self.changing(codec) as correction:
            outcome = correction.record(observation)
        return correction, outcome

    def record_lines(self, codec: str, lines: Iterable[bytes]) -> tuple[Correction, BatchResult]:
        """Learn from each line in order and write the state once, at the end; empty lines are skipped.

        Raises:
            CorrectionError: the codec is not a plain name.
            OSError: the state cannot be read or written; nothing is recorded then.

        """
        observations, refused = _parse(lines)
        recorded = 0
        with self.changing(codec) as correction:
            for line, observation in observations:
                try:
                    correction.record(observation)
                    recorded += 1
                except CorrectionError as error:
                    refused.append(Refusal(line, str(error)))
        return correction, BatchResult(recorded, sorted(refused, key=lambda refusal: refusal.line))

    @contextmanager
    def changing(self, codec: str) -> Iterator[Correction]:
        """Lend the correction of this codec, locked; what it is at the end of the block is on disk after it.

        Nothing is written where the block raises, or records nothing.
        """
        path = self.path(codec)
        with files.locked(path):
            correction = self._read_or_set_aside(path)
            before = correction.captures
            yield correction
            if correction.captures > before:
                files.write(path, encode(correction, self.predictor_version))

    def _read(self, path: Path) -> Correction:
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return Correction(self.settings)
        return decode(data, self.predictor_version, self.settings)

    def _read_or_set_aside(self, path: Path) -> Correction:
        try:
            return self._read(path)
        except CorruptState as error:
            kept = files.set_aside(path, "corrupt")
            _logger.warning("%s is corrupt (%s): kept as %s, learning starts afresh", path, error, kept.name)
        except OutdatedState as error:
            kept = files.set_aside(path, "outdated")
            _logger.warning("%s is not used, %s: kept as %s, learning starts afresh", path, error, kept.name)
        return Correction(self.settings)


def _parse(lines: Iterable[bytes]) -> tuple[list[tuple[int, Observation]], list[Refusal]]:
    decoder = msgspec.json.Decoder(Observation)
    observations: list[tuple[int, Observation]] = []
    refused: list[Refusal] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            observations.append((number, decoder.decode(line)))
        except msgspec.DecodeError as error:
            refused.append(Refusal(number, str(error)))
    return observations, refused
