"""Publishing one checkpoint: three files under a version that was never used before.

The digest and the sidecar come first, the model last: whoever sees `model_v000042.onnx` finds the two others complete,
at whatever instruction the writer was killed. Each file is written under a hidden name, synced, and linked to its
final name, which fails where that exists: a published version cannot be overwritten.
"""

import hashlib
from pathlib import Path

from pipeline.checkpoints import checkpoint as sidecar
from pipeline.checkpoints import counter
from pipeline.checkpoints.checkpoint import Checkpoint, CheckpointError, Verdict
from pipeline.checkpoints.names import HIGHEST, file_of, stem, version_of_identifier, versions
from pipeline.model.features import Features
from pipeline.registry import registry
from pipeline.runtime.durable import write_durably


def next_version(directory: Path, floor: int = 0) -> int:
    """Return a version above `floor` that was never given: no name has it, no registry entry, and it is not counted.

    Raises CheckpointError where none is left.
    """
    try:
        listed = [version_of_identifier(entry.id) or 0 for entry in registry.load(directory).models]
    except registry.RegistryError:
        listed = []
    version = max([floor, counter.read(directory), *versions(directory), *listed]) + 1
    if version > HIGHEST:
        raise CheckpointError(
            f"{directory}: {stem(HIGHEST)} is taken, and no version is left after it; "
            f"remove what is no checkpoint, its entry in {registry.NAME}, and {counter.NAME}"
        )
    return version


def publish(
    directory: Path,
    model: bytes,
    verdict: Verdict,
    *,
    step: int,
    samples: int,
    created: str,
    base: tuple[str, str],
    taken: Features | None = None,
    origin: str = "",
    floor: int = 0,
) -> Checkpoint:
    """Publish `model` under the next version and return its sidecar; `base` is the base model's name and digest.

    `taken` is what the base model says that it takes, `origin` where a model comes from that was made elsewhere.

    The caller holds the directory (`locks.locked`). Raises OSError when the disk refuses; the directory then says
    whether the model got there. Raises CheckpointError where no version is left above `floor`.
    """
    version = next_version(directory, floor)
    counter.raise_to(directory, version)
    digest = hashlib.sha256(model).hexdigest()
    checkpoint = Checkpoint(
        version=version,
        sha256=digest,
        created=created,
        step=step,
        samples=samples,
        base_model=base[0],
        base_sha256=base[1],
        state=verdict.state,
        reason=verdict.reason,
        metrics=verdict.metrics,
        origin=origin,
        features=taken.names if taken else (),
        feature_mean=tuple(taken.mean.tolist()) if taken else (),
        feature_std=tuple(taken.std.tolist()) if taken else (),
    )
    write_durably(file_of(directory, version, ".onnx.sha256"), f"{digest}\n".encode(), replace=False)
    write_durably(file_of(directory, version, ".json"), sidecar.encode(checkpoint), replace=False)
    write_durably(file_of(directory, version), model, replace=False)
    return checkpoint
