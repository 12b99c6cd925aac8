"""A training that was stopped goes on where it was, bit for bit: draws depend on seed and epoch alone."""

import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

from pipeline.corpus.table import Corpus
from pipeline.offline.fit import Fit, Recipe
from pipeline.offline.folds import Member
from pipeline.runtime.durable import write_durably


def fingerprint(corpus: Corpus, target: str, members: list[Member], recipe: Recipe, widths: tuple[int, ...]) -> str:
    """Return a digest of all that decides what a training ends in."""
    told = [widths, target, recipe, [(member.seed, member.left_out) for member in members]]
    digest = hashlib.sha256(msgspec.json.encode(told))
    for array in (corpus.features, corpus.target(target), corpus.clip):
        digest.update(array.tobytes())
    return digest.hexdigest()


def save(fit: Fit, path: Path, fingerprint: str) -> None:
    """Write the state of `fit`, durably."""
    file = io.BytesIO()
    arrays: dict[str, Any] = {name: tensor.detach().numpy() for name, tensor in fit.tensors().items()}
    np.savez(file, fingerprint=np.array(fingerprint), epoch=fit.epoch, steps=fit.adam.steps, **arrays)
    write_durably(path, file.getvalue())


def resume(fit: Fit, path: Path, fingerprint: str) -> bool:
    """Take over the state at `path`; False where there is none, or it is of another training."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as saved:
            if str(saved["fingerprint"]) != fingerprint:
                return False
            for name, tensor in fit.tensors().items():
                tensor.detach().copy_(torch.from_numpy(saved[name]))
            fit.epoch, fit.adam.steps = int(saved["epoch"]), int(saved["steps"])
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        return False
    return True
