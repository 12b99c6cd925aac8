"""What gets into the ring: lines in, rows and answers out. Knows nothing of sockets.

What a connection has sent is decoded in one call and what all have sent is stored in one go, since a call of msgspec or
numpy costs about the same for one row as for many. Where a line cannot be taken, its block is taken line by line.
"""

from __future__ import annotations

import struct
import time

import msgspec
import numpy as np

from pipeline.ingest.framing import BOM, Block, TooLong
from pipeline.ingest.identity import Identity, name_hashes
from pipeline.ingest.resends import Resends
from pipeline.protocol import Refusal, Sample, accepted, job_id_of, refusal, refused
from pipeline.shm.ring import Ring
from pipeline.shm.rows import CONTENT_OFFSET, RowBatch

# Rows that are put together before they go into the ring.
_MOST_ROWS = 2048
_UNREADABLE = (ValueError, RecursionError, msgspec.MsgspecError)
_MISFIT = (struct.error, OverflowError)
_NEWLINE, _OPENING, _CLOSING = b"\n{}"


class Admission:
    """Decodes messages, puts samples into `ring`, and words the answers."""

    def __init__(self, ring: Ring, resends: Resends, max_line_bytes: int) -> None:
        self._ring = ring
        self._resends = resends
        self._max_line_bytes = max_line_bytes
        decoder = msgspec.json.Decoder(Sample)
        self._decode, self._decode_lines = decoder.decode, decoder.decode_lines
        self._pack = struct.Struct(f"<{1 + ring.n_features}f").pack_into
        self._identity = Identity(1 + ring.n_features)
        self._rows = RowBatch(_MOST_ROWS, ring.n_features)
        self._row_bytes = self._rows.words.reshape(-1).view(np.uint8).data
        # Of the rows that are packed and not stored yet.
        self._jobs: list[str] = []
        self._sources: list[str | None] = []
        self.resent = 0
        self.rejected: dict[str, int] = {}

    def admit(self, arrivals: list[list[Block]], prefix: bytes) -> list[bytes]:
        """Take what each connection has sent; return each one's answers in order, none for empty lines.

        The rows are in the ring and visible when this returns. `prefix` begins the answer to an accepted message
        (`protocol.accepted_prefix`).
        """
        answers = [b"".join([self._admit_block(block, prefix) for block in blocks]) for blocks in arrivals]
        self._store()
        return answers

    def _admit_block(self, block: Block, prefix: bytes) -> bytes:
        if isinstance(block, TooLong):
            return self._refuse(Refusal("too_long", f"message: longer than {self._max_line_bytes} bytes"), None)
        try:
            samples = self._decode_lines(block)
            if len(samples) != _objects(block):
                raise ValueError
            jobs = self._pack_rows(samples)
        except (*_UNREADABLE, *_MISFIT):
            return b"".join([self._admit_line(line, prefix) for line in block.split(b"\n")])
        return accepted(prefix, jobs)

    def _admit_line(self, line: bytes, prefix: bytes) -> bytes:
        line = line.removeprefix(BOM).strip(b" \t\r")
        if not line:
            return b""
        try:
            sample = self._decode(line)
        except _UNREADABLE as error:
            return self._refuse(refusal(error), job_id_of(line))
        try:
            return accepted(prefix, self._pack_rows([sample]))
        except _MISFIT:
            return self._refuse(self._misfit(sample.features), sample.job_id)

    def _pack_rows(self, samples: list[Sample]) -> list[str]:
        """Pack score and features of all samples into rows, or of none; return their jobs.

        Raises what struct raises for a misfit.
        """
        if len(self._jobs) + len(samples) > _MOST_ROWS:
            self._store()
        pack, buffer, stride = self._pack, self._row_bytes, self._rows.words.strides[0]
        offset = CONTENT_OFFSET + len(self._jobs) * stride
        for sample in samples:
            pack(buffer, offset, sample.true_score, *sample.features)
            offset += stride
        jobs = [sample.job_id for sample in samples]
        self._jobs += jobs
        self._sources += [sample.source_id for sample in samples]
        return jobs

    def _store(self) -> None:
        """Put the packed rows into the ring, without those that were there before."""
        if not self._jobs:
            return
        rows = self._rows.first(len(self._jobs))
        jobs = name_hashes(self._jobs)
        rows.arrival[:] = time.time()
        rows.group[:] = jobs
        if self._sources.count(None) < len(self._sources):
            named = [i for i, source in enumerate(self._sources) if source is not None]
            rows.group[named] = name_hashes([source for source in self._sources if source is not None])
        rows.key[:] = self._identity.keys(rows.content, jobs)
        are_new = self._resends.admit(rows.key.tolist())
        if are_new is not None:
            self.resent += are_new.count(False)
            rows = rows.select(np.array(are_new, np.bool_))
        self._ring.extend(rows)
        self._jobs.clear()
        self._sources.clear()

    def _misfit(self, features: list[float]) -> Refusal:
        expected = self._ring.n_features
        if len(features) != expected:
            return Refusal("feature_count", f"features: feature vector length {len(features)} != expected {expected}")
        return Refusal("not_float32", "features: a number is out of range, expected numbers that fit float32")

    def _refuse(self, refusal: Refusal, job_id: str | None) -> bytes:
        self.rejected[refusal.reason] = self.rejected.get(refusal.reason, 0) + 1
        return refused(str(refusal), job_id)


def _objects(block: bytes) -> int:
    """Return how many lines a block has if every newline in it stands between two JSON objects, else 0.

    Inside a valid object no newline stands between } and {, so each of these separates two of them.
    """
    if b"\n" not in block:
        return 1
    text = np.frombuffer(block, np.uint8)
    newlines = np.flatnonzero(text == _NEWLINE)
    if len(newlines) and (newlines[0] == 0 or newlines[-1] == len(text) - 1):
        return 0
    between = bool((text[newlines - 1] == _CLOSING).all() and (text[newlines + 1] == _OPENING).all())
    return len(newlines) + 1 if between else 0
