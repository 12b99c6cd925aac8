"""Many captures from JSON lines, recorded under one lock and one write."""

from collections.abc import Iterable

import msgspec

from pipeline.correction.captures import CorrectionError, Observation
from pipeline.correction.correction import Correction
from pipeline.correction.store import CorrectionStore


class Refusal(msgspec.Struct, frozen=True):
    """A line that was left out: its number, from 1, and why."""

    line: int
    reason: str


class BatchResult(msgspec.Struct, frozen=True):
    """How many lines were learned from, and those that were not."""

    recorded: int
    refused: list[Refusal]


def record(store: CorrectionStore, codec: str, lines: Iterable[bytes]) -> tuple[Correction, BatchResult]:
    """Learn from each line in order and write the state once, at the end; empty lines are skipped.

    Raises:
        CorrectionError: the codec is not a plain name.
        OSError: the state cannot be read or written; nothing is recorded then.

    """
    observations, refused = _parse(lines)
    recorded = 0
    with store.changing(codec) as correction:
        for line, observation in observations:
            try:
                correction.record(observation)
                recorded += 1
            except CorrectionError as error:
                refused.append(Refusal(line, str(error)))
    return correction, BatchResult(recorded, sorted(refused, key=lambda refusal: refusal.line))


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
