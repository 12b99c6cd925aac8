"""What is pushed: a published checkpoint or a base model, as an artifact."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from pipeline.artifacts.artifact import BASE_SHA256, CREATED, MODEL_SHA256, VERSION, Artifact, Manifest
from pipeline.checkpoints import checkpoint as sidecar
from pipeline.checkpoints.checkpoint import Checkpoint, CheckpointError
from pipeline.checkpoints.names import file_of, stem
from pipeline.runtime.durable import open_regular

_BESIDE = (".json", ".md")
_EXTERNAL = ".data"
_VERSION = re.compile(r"v(\d{6,9})")
_NAME = re.compile(r"v(\d{6,9})-([0-9a-f]{12})")


def of_checkpoint(directory: Path, version: int) -> Artifact:
    """Return a checkpoint as an artifact: model, digest, sidecar, card.

    The same files always make the same artifact. Raises CheckpointError where they do not belong together, OSError
    where they cannot be read.
    """
    known, name = sidecar.read(directory, version), stem(version)
    model = _bytes(file_of(directory, version))
    if hashlib.sha256(model).hexdigest() != known.sha256:
        raise CheckpointError(f"{file_of(directory, version)}: its digest is not the one in {name}.json")
    files = {
        f"{name}.onnx": model,
        f"{name}.onnx.sha256": f"{known.sha256}\n".encode(),
        f"{name}.json": _bytes(file_of(directory, version, ".json")),
        f"{name}.md": _card(known).encode(),
    }
    annotations = {
        CREATED: known.created,
        VERSION: f"v{version:06d}",
        MODEL_SHA256: known.sha256,
        BASE_SHA256: known.base_sha256,
    }
    return Artifact(files, annotations)


def of_model(model: Path) -> Artifact:
    """Return a base model as an artifact, with the card, sidecar and weights that lie beside it. Raises OSError."""
    data = model.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    files = {model.name: data, f"{model.name}.sha256": f"{digest}\n".encode()}
    for beside in (*map(model.with_suffix, _BESIDE), model.with_name(f"{model.name}{_EXTERNAL}")):
        if beside.is_file():
            files[beside.name] = beside.read_bytes()
    return Artifact(files, {MODEL_SHA256: digest})


def name_of(artifact: Artifact) -> str:
    """Return the name that leads to this artifact for ever: version and digest of its model."""
    version, digest = artifact.annotations.get(VERSION, "model"), artifact.annotations[MODEL_SHA256]
    return f"{version}-{digest[:12]}"


def mark_of(sha256: str) -> str:
    """Return the name that says for ever that a model was withdrawn."""
    return f"withdrawn-{sha256[:12]}"


def older(names: list[str], version: int) -> list[str]:
    """Return the names of versions before `version`, 0 for all, that were not withdrawn, newest first."""
    there = set(names)
    found = [match for match in map(_NAME.fullmatch, names) if match and mark_of(match[2]) not in there]
    newest_first = sorted(found, key=lambda match: int(match[1]), reverse=True)
    return [match[0] for match in newest_first if not version or int(match[1]) < version]


def version_of(manifest: Manifest) -> int:
    """Return the version that an artifact is of; 0 for none."""
    match = _VERSION.fullmatch(manifest.annotations.get(VERSION, ""))
    return int(match[1]) if match else 0


def created(annotations: dict[str, str]) -> float:
    """Return when a model was made, in Unix seconds; 0 where that is not known."""
    try:
        return datetime.fromisoformat(annotations.get(CREATED, "")).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def _card(known: Checkpoint) -> str:
    return "\n\n".join(_paragraphs(known)) + "\n"


def _paragraphs(known: Checkpoint) -> Iterator[str]:
    yield f"# {stem(known.version)}"
    yield (
        f"SHA-256 `{known.sha256}`, made {known.created}. The graph of {known.base_model} (SHA-256 "
        f"`{known.base_sha256}`) with weights of {known.step:,} train steps on {known.samples:,} samples."
    )
    yield f"{known.state}: {known.reason}"
    for name, on in known.metrics.items():
        head = f"| {name}: {on.samples} samples of {on.groups} groups | RMSE | PLCC | SROCC |\n|---|---|---|---|"
        models = (("this model", on.candidate), ("base model", on.base), ("stable before", on.stable))
        rows = [
            f"| {model} | {_figure(of.rmse)} | {_figure(of.plcc)} | {_figure(of.srocc)} |"
            for model, of in models
            if of is not None
        ]
        yield "\n".join([head, *rows])
    yield "It imitates libvmaf and inherits its errors. The figures hold for content like that of the samples."


def _figure(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"


def _bytes(path: Path) -> bytes:
    with open_regular(path) as file:
        return file.read()
