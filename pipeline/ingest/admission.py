"""What gets into the ring: lines in, rows and answers out. Knows nothing of sockets.

Lines are decoded one by one and their features packed at once, so that the next line's floats reuse the
memory of this one's. numpy works on all rows of a round at once, since a call costs about the same for one row as for
many. If a line is refused, its block is decoded line by line.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterable, Sequence
from io import BytesIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.ingest.copies import Copies
from pipeline.ingest.dedup import Deduplicator, SampleKeys, name_hashes
from pipeline.ingest.forgotten import Tombstones, of_lines
from pipeline.ingest.framing import BOM, Block, TooLong
from pipeline.ingest.names import Owner, Owners
from pipeline.ingest.opinions import Opinions
from pipeline.protocol import OpinionSample, Refusal, Sample, accepted, job_id_of, refusal, refused, sample_of
from pipeline.shm.ring import Ring
from pipeline.shm.rows import RowBatch

_UNREADABLE = (ValueError, RecursionError, msgspec.MsgspecError)
_MISFIT = (struct.error, OverflowError)


class Admission:
    """Decodes messages, puts samples into `ring`, and makes the answers.

    Takes samples of `tenants` only, where there are any; stores through `copies`, likewise, and nothing that
    `tombstones` cover.
    """

    def __init__(
        self,
        ring: Ring,
        resends: Deduplicator,
        max_line_bytes: int,
        owners: Owners | None = None,
        opinions: Opinions | None = None,
        *,
        tenants: tuple[str, ...] = (),
        copies: Copies | None = None,
        tombstones: Tombstones | None = None,
    ) -> None:
        """Take the true scores of messages, or their subjective ones."""
        self._ring, self._copies = ring, copies
        self._resends = resends
        self._tombstones = tombstones or Tombstones()
        self.owners = owners or Owners()
        self._max_line_bytes = max_line_bytes
        kind = OpinionSample if opinions else Sample
        self._decode = msgspec.json.Decoder(sample_of(ring.n_features, kind, tenants)).decode
        self._decode_any = msgspec.json.Decoder(sample_of(None, kind, tenants)).decode
        self._opinions = opinions
        self._pack = struct.Struct(f"<{ring.n_features}f").pack
        self._keys = SampleKeys(1 + ring.n_features)
        # Of the samples that are taken and not stored yet.
        self._jobs: list[str] = []
        self._scores: list[float] = []
        self._features: list[bytes] = []
        self._sources: list[str | None] = []
        self._owned: list[int] = []
        self._owners: list[Owner] = []
        self._lines: list[bytes] = []
        self.resent = self.forgotten = 0
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
            jobs = self._take(map(self._decode, BytesIO(block)))
        except (*_UNREADABLE, *_MISFIT, Refusal):
            return b"".join([self._admit_line(line, prefix) for line in block.split(b"\n")])
        if jobs:
            self._lines.append(block.removesuffix(b"\n"))  # an empty last line is no sample's
        return accepted(prefix, jobs)

    def _admit_line(self, line: bytes, prefix: bytes) -> bytes:
        line = line.removeprefix(BOM).strip(b" \t\r")
        if not line:
            return b""
        try:
            sample = self._decode_any(line)
        except _UNREADABLE as error:
            return self._refuse(refusal(error), job_id_of(line))
        try:
            jobs = self._take([sample])
        except _MISFIT:
            return self._refuse(self._misfit(sample.features), sample.job_id)
        except Refusal as unlearnable:
            return self._refuse(unlearnable, sample.job_id)
        self._lines.append(line)
        return accepted(prefix, jobs)

    def _take(self, samples: Iterable[Sample]) -> list[str]:
        """Take all samples, or none; return their jobs.

        Raises what decoding raises for a line, what struct raises for a misfit, and Refusal.
        """
        if self._opinions:
            samples = list(samples)
        pack = self._pack
        jobs: list[str] = []
        scores: list[float] = []
        features: list[bytes] = []
        sources: list[str | None] = []
        owned: list[int] = []
        owners: list[Owner] = []
        before = len(self._jobs)
        for sample in samples:
            features.append(pack(*sample.features))
            scores.append(sample.true_score)
            sources.append(sample.source_id)
            node, tenant, codec, height = sample.node_id, sample.tenant_id, sample.codec, sample.height
            if node is not None or tenant is not None or codec is not None or height is not None:
                owned.append(before + len(jobs))
                owners.append((node, tenant, codec, height))
            jobs.append(sample.job_id)
        if self._opinions:
            scores = self._opinions.scores(samples)
        self._jobs += jobs
        self._scores += scores
        self._features += features
        self._sources += sources
        self._owned += owned
        self._owners += owners
        return jobs

    def _store(self) -> None:
        """Put the accepted samples into the ring, without resends and forgotten ones."""
        if not self._jobs:
            return
        rows = RowBatch(len(self._jobs), self._ring.n_features)
        rows.features[:] = np.frombuffer(b"".join(self._features), np.float32).reshape(rows.features.shape)
        rows.score[:] = self._scores
        jobs = name_hashes(self._jobs)
        rows.arrival[:] = time.time()
        rows.group[:] = rows.job[:] = jobs
        self._regroup(rows.group)
        self._say_whose(rows)
        rows.key[:] = self._keys.keys(rows.content, jobs)
        are_new = self._new(rows)
        if are_new is not None:
            rows = rows.select(np.array(are_new, np.bool_))
        if self._copies is None:
            self._ring.extend(rows)
        else:
            self._copies.extend(rows, self._lines, are_new)
        for taken in (self._jobs, self._scores, self._features, self._sources, self._owned, self._owners, self._lines):
            taken.clear()

    def _new(self, rows: RowBatch) -> list[bool] | None:
        """Tell which rows are to be stored; None for all. Those that are kept out are not remembered as known."""
        covered = self._tombstones.covered(rows, of_lines(self._lines))
        left = rows.key if covered is None else rows.key[~covered]
        are_new = self._resends.admit(left.tolist())
        if are_new is not None:
            self.resent += are_new.count(False)
        if covered is None:
            return are_new
        self.forgotten += int(covered.sum())
        wanted = ~covered
        wanted[~covered] = True if are_new is None else are_new
        return list(map(bool, wanted))

    def _regroup(self, group: NDArray[np.uint64]) -> None:
        """Put the hashes of the sources that are named into the groups uint64[n] of their rows."""
        sources = self._sources
        if sources.count(None) < len(sources):
            named = {i: name for i, name in enumerate(sources) if name is not None}
            group[list(named)] = self.owners.groups(list(named.values()))

    def _say_whose(self, rows: RowBatch) -> None:
        """Put into the rows what their samples say of themselves, as far as they do."""
        if self._owners:
            which = slice(None) if len(self._owned) == len(rows) else np.array(self._owned)
            columns = self.owners.cells(self._owners).T
            rows.node[which], rows.tenant[which], rows.codec[which], rows.height[which] = columns

    def _misfit(self, features: Sequence[float]) -> Refusal:
        expected = self._ring.n_features
        if len(features) != expected:
            return Refusal("feature_count", f"features: feature vector length {len(features)} != expected {expected}")
        return Refusal("not_float32", "features: a number is out of range, expected numbers that fit float32")

    def _refuse(self, refusal: Refusal, job_id: str | None) -> bytes:
        self.rejected[refusal.reason] = self.rejected.get(refusal.reason, 0) + 1
        return refused(str(refusal), job_id)
