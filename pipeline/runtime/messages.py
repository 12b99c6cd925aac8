"""What the processes send each other in shared memory, each message as msgpack in its own mailbox.

The trainer: the base model, and whole versions of its weights, from which a restarted trainer also resumes and which
the saved state holds byte for byte. The exporter: the weights of the last stable checkpoint. Ingest: what the hashes in
rows are the hashes of; in a pool, how far it has read the stream.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray


class ServedModel(msgspec.Struct, kw_only=True):
    """The base model: `onnx` is its self-contained serialised graph, `name` where it came from."""

    name: str
    digest: str
    onnx: bytes
    trained: bool = True


class TrainerSnapshot(msgspec.Struct, kw_only=True):
    """One consistent version of the training.

    `export` float32[n_parameters] is the EMA weights in graph space; `probe` float32[n, n_features] are rows, and
    `probe_scores` float32[n] what the trainer predicts for them with those weights. `meta` and `vectors` are what
    `OnlineTraining.restore` takes; `vectors` maps a name to (dtype, bytes). `ring` is the identity of the ring whose
    sequences `samples`, the cursor, and `start` in `meta` are.
    """

    step: int
    samples: int
    base_digest: str
    n_features: int
    export: bytes
    probe: bytes
    probe_scores: bytes
    meta: dict[str, Any]
    vectors: dict[str, tuple[str, bytes]]
    ring: int = 0

    @property
    def start(self) -> int:
        """Sequence of the first row that is of this base model's training."""
        return int(self.meta.get("start", 0))

    def export_vector(self) -> NDArray[np.float32]:
        """Return the EMA weights in graph space, float32[n_parameters]."""
        return np.frombuffer(self.export, np.float32)

    def probe_rows(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the probe's rows float32[n, n_features] and scores float32[n]."""
        rows = np.frombuffer(self.probe, np.float32).reshape(-1, self.n_features)
        return rows, np.frombuffer(self.probe_scores, np.float32)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return `vectors` as arrays."""
        return {name: np.frombuffer(data, dtype).copy() for name, (dtype, data) in self.vectors.items()}


class StableWeights(msgspec.Struct, kw_only=True):
    """Weights of the last stable checkpoint, float32[n_parameters] in graph space, from the exporter.

    Checkpoint 0, without weights: there is none, or no longer one.
    """

    checkpoint: int
    base_digest: str
    weights: bytes

    def vector(self) -> NDArray[np.float32]:
        """Return the weights, float32[n_parameters]."""
        return np.frombuffer(self.weights, np.float32)


class Names(msgspec.Struct, kw_only=True):
    """Names by their hashes, as many of each kind as ingest has room for; a row's hash may be of none of them."""

    node: dict[int, str] = {}
    tenant: dict[int, str] = {}
    codec: dict[int, str] = {}
    group: dict[int, str] = {}


class Sender(msgspec.Struct, array_like=True):
    """What a pool knows of a sidecar that sends samples.

    `taken` samples are in the ring; `sent` is how many the sidecar has sent, by its own count; `lost` had left the
    stream before they were read; `over_quota` were too many; `refused` could not be used. `at`: Unix seconds.
    """

    taken: int = 0
    sent: int = 0
    lost: int = 0
    over_quota: int = 0
    refused: int = 0
    at: float = 0.0


class StreamPosition(msgspec.Struct, kw_only=True):
    """How far a pool has read the stream: everything up to sequence `read` of the stream made at `made` is in the ring.

    `owner` says which pool this is, over restarts. `gone` has the counts of senders that are not listed any more.
    """

    owner: str = ""
    made: str = ""
    read: int = 0
    senders: dict[str, Sender] = {}
    gone: Sender = msgspec.field(default_factory=Sender)

    def drop(self, node: str) -> None:
        """List a sender no more; if it sends again, it begins anew."""
        sender = self.senders.pop(node)
        self.gone.taken += sender.taken
        self.gone.lost += sender.lost
        self.gone.over_quota += sender.over_quota
        self.gone.refused += sender.refused

    def total(self, what: str) -> int:
        """Return a count over all senders there have been."""
        return sum(getattr(sender, what) for sender in (self.gone, *self.senders.values()))


def lineage_of(base_digest: str) -> int:
    """Return the number by which reservoirs know the base model's training, above 0."""
    return int(base_digest[:15], 16) + 1


def pack_arrays(arrays: dict[str, NDArray[Any]]) -> dict[str, tuple[str, bytes]]:
    """Return arrays in the form of `TrainerSnapshot.vectors`."""
    return {name: (array.dtype.str, array.tobytes()) for name, array in arrays.items()}


def encode(value: ServedModel | TrainerSnapshot | StableWeights | Names | StreamPosition) -> bytes:
    """Return the bytes that go into the mailbox."""
    return msgspec.msgpack.encode(value)


def decode_model(payload: bytes) -> ServedModel:
    """Parse a mailbox payload. Raises msgspec.DecodeError or ValidationError where it is none."""
    return msgspec.msgpack.decode(payload, type=ServedModel)


def decode_snapshot(payload: bytes) -> TrainerSnapshot:
    """Parse a mailbox payload. Raises msgspec.DecodeError or ValidationError where it is none."""
    return msgspec.msgpack.decode(payload, type=TrainerSnapshot)


def decode_stable(payload: bytes) -> StableWeights:
    """Parse a mailbox payload. Raises msgspec.DecodeError or ValidationError where it is none."""
    return msgspec.msgpack.decode(payload, type=StableWeights)


def decode_names(payload: bytes) -> Names:
    """Parse a mailbox payload. Raises msgspec.DecodeError or ValidationError where it is none."""
    return msgspec.msgpack.decode(payload, type=Names)


def decode_position(payload: bytes) -> StreamPosition:
    """Parse a mailbox payload. Raises msgspec.DecodeError or ValidationError where it is none."""
    return msgspec.msgpack.decode(payload, type=StreamPosition)
