"""`python -m pipeline.publisher.fetch`: brings the base model of the settings into the cache, and says where it is.

A program of its own, so that the trainer, which runs it, neither waits for a registry nor holds what talks to one.
Within one run of the sidecar a tag means one model: what it meant first is noted in the run's directory.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec

from pipeline import config
from pipeline.artifacts.base import CACHE, RUN_NOTE, fetch
from pipeline.artifacts.faults import RegistryFault
from pipeline.artifacts.reference import Reference
from pipeline.artifacts.signature import Trust
from pipeline.runtime.durable import write_durably


def main() -> dict[str, str]:
    """Fetch the model; return where it lies, or what is wrong, by kind."""
    settings = config.load()
    reference = settings.base_model
    assert isinstance(reference, Reference)
    run = os.environ.get("VMAFX_SIDECAR_RUN_DIR")
    note = Path(run) / RUN_NOTE if run else None
    try:
        pinned = note.read_text() if note and note.exists() else ""
        found = fetch(reference, settings.state_dir / CACHE, Trust.of(settings.registry_public_key), pinned)
        if note is not None and not pinned:
            write_durably(note, found.digest.encode())
    except RegistryFault as fault:
        return {"kind": fault.kind, "reason": str(fault)}
    except OSError as error:
        return {"kind": "local", "reason": f"{error.filename}: {error.strerror}"}
    return {"path": str(found.path), "digest": found.digest, "note": found.note}


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(main()))
