"""The model card beside an ONNX: what it is, what it learned from, its figures, and its limits."""

import hashlib
import shlex
from pathlib import Path

import msgspec

from pipeline.registry.registry import RegistryError
from pipeline.runtime.durable import write_durably

_LIMITS = """\
It imitates {teacher} and inherits {errors}. Features outside the range it was trained on are extrapolated, and a
prediction may lie outside 0 to 100. The figures hold for content like the sources named here."""
_OF_A_SCORE = {"teacher": "libvmaf", "errors": "its errors"}
_OF_A_MOS = {"teacher": "viewers' mean opinion of whole clips, from 0 to 100,", "errors": "what moved them"}


class Training(msgspec.Struct):
    """What the sidecar of a trained model says of its making."""

    command: str
    corpus: str
    target: str
    architecture: str
    sources: list[str]
    left_out: list[str]
    rows: int
    seed: int


class Sidecar(msgspec.Struct):
    """The part of a model's `.json` that its card and its registry entry need."""

    sha256: str
    opset: int
    features: list[str]
    training: Training
    metrics: dict[str, float | None]


def read_sidecar(model: Path) -> Sidecar:
    """Read the `.json` beside a trained model; raises RegistryError, also where the digest is another file's."""
    path = model.with_suffix(".json")
    try:
        sidecar = msgspec.json.decode(path.read_bytes(), type=Sidecar)
        digest = hashlib.sha256(model.read_bytes()).hexdigest()
    except OSError as error:
        raise RegistryError(
            f"{error.filename}: {error.strerror}; a model is added with the .json of its training"
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RegistryError(f"{path}: {error}") from error
    if digest != sidecar.sha256:
        raise RegistryError(f"{model}: digest {digest}, but {path.name} is of {sidecar.sha256}")
    return sidecar


def write_card(model: Path, sidecar: Sidecar) -> Path:
    """Write the card beside `model` and return its path."""
    path = model.with_suffix(".md")
    write_durably(path, _card(model, sidecar).encode())
    return path


def summary(sidecar: Sidecar) -> str:
    """Return one sentence for the registry's notes."""
    training = sidecar.training
    text = f"{training.architecture} on {len(training.sources)} sources of {training.corpus}, target {training.target}"
    if not sidecar.metrics.get("rows"):
        return f"{text}."
    unseen = f"on {len(training.left_out)} left-out sources PLCC {_figure(sidecar, 'plcc')}"
    return f"{text}; {unseen}, RMSE {_figure(sidecar, 'rmse')}."


def _card(model: Path, sidecar: Sidecar) -> str:
    training = sidecar.training
    parts = {
        f"# {model.stem}": f"`{model.name}`, opset {sidecar.opset}, SHA-256 `{sidecar.sha256}`. Input: "
        f"{', '.join(sidecar.features)}, as they are measured; the standardisation is in the graph. "
        f"Output: {training.target}.",
        "## Data": f"{training.rows} frames of {training.corpus}, sources: {', '.join(training.sources)}. "
        f"Left out: {', '.join(training.left_out) or 'none'}.",
        "## Agreement on the sources left out": _metrics(sidecar),
        "## Limits": _LIMITS.format(**(_OF_A_MOS if training.target in ("mos", "ground_truth_score") else _OF_A_SCORE)),
        "## How to make it again": _indented(training.command),
    }
    return "\n\n".join(f"{heading}\n\n{text}" for heading, text in parts.items()) + "\n"


def _metrics(sidecar: Sidecar) -> str:
    figures = [name for name in sidecar.metrics if name != "rows"]
    if not figures:
        return "No source was left out: leave sources out in turn (`vmafx-sidecar train --loso`) to judge the recipe."
    head = " | ".join(name.upper() for name in figures)
    cells = " | ".join(_figure(sidecar, name) for name in figures)
    return f"| rows | {head} |\n|{'---|' * (len(figures) + 1)}\n| {sidecar.metrics['rows']:.0f} | {cells} |"


def _figure(sidecar: Sidecar, name: str) -> str:
    value = sidecar.metrics.get(name)
    return "none" if value is None else f"{value:.4f}"


def _indented(command: str) -> str:
    """Return the command as a code block, an option a line."""
    lines: list[str] = []
    for word in shlex.split(command):
        if word.startswith("-") or not lines:
            lines.append(shlex.quote(word))
        else:
            lines[-1] += f" {shlex.quote(word)}"
    return "    " + " \\\n        ".join(lines)
