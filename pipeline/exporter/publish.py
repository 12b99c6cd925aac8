"""Publishing one checkpoint: three files under a version that was never used before.

The digest and the sidecar come first, the model last: whoever sees `model_v000042.onnx` finds the two others complete,
at whatever instruction the writer was killed. Each file is written under a hidden name, synced, and linked to its
final name, which fails where that exists: a published version cannot be overwritten.
"""

import hashlib
from pathlib import Path

from pipeline.durable import write_durably
from pipeline.exporter import checkpoint as sidecar
from pipeline.exporter.checkpoint import Checkpoint, Verdict
from pipeline.exporter.names import file_of, version_of_identifier, versions
from pipeline.registry import registry


def next_version(directory: Path) -> int:
    """Return a version that no file and no registry entry has, complete or left behind by a dead writer."""
    try:
        listed = [version_of_identifier(entry.id) or 0 for entry in registry.load(directory).models]
    except registry.RegistryError:
        listed = []
    return max([0, *versions(directory), *listed]) + 1


def publish(
    directory: Path, model: bytes, verdict: Verdict, *, step: int, samples: int, created: str, base: tuple[str, str]
) -> Checkpoint:
    """Publish `model` under the next version and return its sidecar; `base` is the base model's name and digest.

    The caller holds the directory (`locks.locked`). Raises OSError when the disk refuses; the directory then says
    whether the model got there.
    """
    version = next_version(directory)
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
    )
    write_durably(file_of(directory, version, ".onnx.sha256"), f"{digest}\n".encode(), replace=False)
    write_durably(file_of(directory, version, ".json"), sidecar.encode(checkpoint), replace=False)
    write_durably(file_of(directory, version), model, replace=False)
    return checkpoint
