"""`latest.onnx` and `latest-stable.onnx`: names that always lead to one whole pair of model and digest.

Two names cannot be replaced at once, but one link to a directory can (Kubernetes updates its volumes in this way).
`latest.onnx` and `latest.onnx.sha256` lead through `.latest`, a link to a directory that links to one version's files:

    latest.onnx        -> .latest/model.onnx
    latest.onnx.sha256 -> .latest/model.onnx.sha256
    .latest            -> .v000042
    .v000042/model.onnx -> ../model_v000042.onnx

A reader that wants both files of one version resolves `latest.onnx` first (realpath) and takes the digest beside it.
"""

import re
import shutil
from pathlib import Path

from pipeline.checkpoints.names import VERSION, stem
from pipeline.runtime.durable import replace_link, sync_directory

LATEST = "latest"
LATEST_STABLE = "latest-stable"

_PAIR = (".onnx.sha256", ".onnx")
_PAIR_NAME = re.compile(rf"\.v{VERSION}")


def point(directory: Path, pointer: str, version: int | None) -> None:
    """Make `pointer` lead to `version`, or remove it if that is None."""
    if version is None:
        for name in (*(f"{pointer}{suffix}" for suffix in reversed(_PAIR)), f".{pointer}"):
            (directory / name).unlink(missing_ok=True)
        return
    pair = directory / f".v{version:06d}"
    if pair.is_symlink() or pair.is_file():  # a link could lead anywhere
        pair.unlink()
    pair.mkdir(exist_ok=True)
    for suffix in _PAIR:
        link = pair / f"model{suffix}"
        if link.is_dir() and not link.is_symlink():  # nothing else belongs here
            shutil.rmtree(link)
        replace_link(link, f"../{stem(version)}{suffix}")
    replace_link(directory / f".{pointer}", pair.name)
    for suffix in _PAIR:
        replace_link(directory / f"{pointer}{suffix}", f".{pointer}/model{suffix}")


def pointed(directory: Path, pointer: str) -> int | None:
    """Return the version that `pointer` leads to; None where it leads nowhere."""
    try:
        match = _PAIR_NAME.fullmatch(str((directory / f".{pointer}").readlink()))
    except OSError:
        return None
    return int(match[1]) if match else None


def remove_unused(directory: Path) -> None:
    """Remove the directories of pairs that no pointer leads to."""
    used = {pointed(directory, LATEST), pointed(directory, LATEST_STABLE)}
    matches = ((_PAIR_NAME.fullmatch(path.name), path) for path in directory.glob(".v[0-9]*"))
    unused = [path for match, path in matches if match and int(match[1]) not in used]
    for pair in unused:
        if pair.is_dir() and not pair.is_symlink():
            shutil.rmtree(pair, ignore_errors=True)
    if unused:
        sync_directory(directory)
