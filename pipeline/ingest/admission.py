"""What gets into the ring: lines in, rows and answers out. Knows nothing of sockets."""

from __future__ import annotations

import struct
import time

import msgspec
import xxhash

from pipeline.ingest.framing import BOM, TooLong
from pipeline.ingest.resends import Resends
from pipeline.protocol import Refusal, Sample, accepted, job_id_of, refusal, refused
from pipeline.shm.ring import Ring

_hash64 = xxhash.xxh3_64_intdigest


class Admission:
    """Decodes messages, puts samples into `ring`, and words the answers.

    Rows become visible to other processes with `publish`, which must come before the answers are sent.
    """

    def __init__(self, ring: Ring, resends: Resends, max_line_bytes: int) -> None:
        self._ring = ring
        self._resends = resends
        self._max_line_bytes = max_line_bytes
        decoder = msgspec.json.Decoder(Sample)
        self._decode, self._decode_lines = decoder.decode, decoder.decode_lines
        self.resent = 0
        self.rejected: dict[str, int] = {}
        self._now = time.time()

    def begin_round(self) -> None:
        """Fix the arrival time that the coming rows carry."""
        self._now = time.time()

    def publish(self) -> None:
        """Make the rows of this round visible."""
        self._ring.publish()

    def admit(self, block: bytes | TooLong, prefix: bytes) -> list[bytes]:
        """Take the lines of a block; return their answers in order, none for empty lines.

        `prefix` begins the answer to an accepted message (`protocol.accepted_prefix`).
        """
        if isinstance(block, TooLong):
            return [self._refuse(Refusal("too_long", f"message: longer than {self._max_line_bytes} bytes"), None)]
        samples = self._decode_block(block)
        if samples is None:
            return self._admit_singly(block, prefix)
        return [self._admit_sample(sample, prefix) for sample in samples]

    def _decode_block(self, block: bytes) -> list[Sample] | None:
        """Decode all lines in one call; None where that fails or an object is not exactly one line."""
        try:
            samples = self._decode_lines(block)
        except (ValueError, RecursionError, msgspec.MsgspecError):
            return None
        breaks = block.count(b"\n")
        # Valid JSON has no newline between } and { inside an object, so that each of these separates two of them.
        return samples if len(samples) == breaks + 1 and block.count(b"}\n{") == breaks else None

    def _admit_singly(self, block: bytes, prefix: bytes) -> list[bytes]:
        lines = (line.removeprefix(BOM).strip(b" \t\r") for line in block.split(b"\n"))
        return [self._admit_line(line, prefix) for line in lines if line]

    def _admit_line(self, line: bytes, prefix: bytes) -> bytes:
        try:
            sample = self._decode(line)
        except (ValueError, RecursionError, msgspec.MsgspecError) as error:
            return self._refuse(refusal(error), job_id_of(line))
        return self._admit_sample(sample, prefix)

    def _admit_sample(self, sample: Sample, prefix: bytes) -> bytes:
        job_id, source_id = sample.job_id, sample.source_id
        job = _hash64(job_id.encode())
        group = job if source_id is None else _hash64(source_id.encode())
        try:
            content = self._ring.put(self._now, group, sample.true_score, sample.features)
        except (struct.error, OverflowError):
            return self._refuse(self._misfit(sample.features), job_id)
        key = _hash64(content, job)
        if key in self._resends:
            self.resent += 1
        else:
            self._ring.commit(key)
            self._resends.add(key)
        return accepted(prefix, job_id)

    def _misfit(self, features: list[float]) -> Refusal:
        expected = self._ring.n_features
        if len(features) != expected:
            return Refusal("feature_count", f"features: feature vector length {len(features)} != expected {expected}")
        return Refusal("not_float32", "features: a number is out of range, expected numbers that fit float32")

    def _refuse(self, refusal: Refusal, job_id: str | None) -> bytes:
        self.rejected[refusal.reason] = self.rejected.get(refusal.reason, 0) + 1
        return refused(str(refusal), job_id)
