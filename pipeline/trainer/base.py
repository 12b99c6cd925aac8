"""Where the trainer gets its base model from: a file (waited for while it is absent), or a fresh network."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.config import Settings
from pipeline.model.default_network import from_state_dict, two_layer
from pipeline.model.errors import UnusableModel
from pipeline.model.graph import BaseModel, load_base_model
from pipeline.runtime.extras import lacking
from pipeline.runtime.lifecycle import Ending, ExitCode
from pipeline.runtime.reports import UNTRAINED
from pipeline.trainer.fetched import fetch

if TYPE_CHECKING:
    from pipeline.runtime.process import Process
    from pipeline.runtime.reports import TrainerReport

_LONGEST_WAIT_S = 10.0
_WARNING_INTERVAL_S = 300.0
_STATE_DICT_SUFFIXES = {".pt", ".pth"}


def obtain(process: Process[TrainerReport]) -> BaseModel | None:
    """Return the base model of the settings, waiting for its file; None when told to stop first.

    A base model that learns subjective scores is another one than it was for libvmaf's: nothing of the one is used for
    the other.

    Raises Ending for a model that cannot be used, or does not take the configured number of features.
    """
    settings = process.settings
    if settings.base_model is None:
        return aimed(BaseModel(two_layer(settings.n_features, seed=settings.seed), UNTRAINED), settings)
    wait, warn_at = 0.25, time.monotonic()
    while not process.should_stop():
        try:
            path = settings.base_model
            base = _read(path if isinstance(path, Path) else fetch(process))
        except OSError as error:
            problem = f"VMAFX_BASE_MODEL_PATH={settings.base_model}: {error.strerror}; waiting for it"
            process.phase("initializing", problem)
            if time.monotonic() >= warn_at:
                process.log.warning("base_model_missing", path=str(settings.base_model), reason=error.strerror)
                warn_at = time.monotonic() + _WARNING_INTERVAL_S
            process.wait(wait)
            wait = min(2 * wait, _LONGEST_WAIT_S)
            continue
        except UnusableModel as error:
            raise Ending(ExitCode.BASE_MODEL_UNUSABLE, f"VMAFX_BASE_MODEL_PATH: {error}") from None
        _check_features(base, settings.n_features)
        return aimed(base, settings)
    return None


def aimed(base: BaseModel, settings: Settings) -> BaseModel:
    """Return `base` as the model that learns what the settings say."""
    return base if settings.target == "true_score" else base.aimed_at(settings.target)


def _read(path: Path) -> BaseModel:
    return _from_state_dict(path) if path.suffix.lower() in _STATE_DICT_SUFFIXES else load_base_model(path)


def _from_state_dict(path: Path) -> BaseModel:
    if reason := lacking("torch", "a PyTorch state dict"):
        raise UnusableModel(path.name, reason)
    import torch

    path.stat()
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # torch raises whatever its parser meets
        reason = str(error).strip().splitlines()[0]
        raise UnusableModel(path.name, f"not a PyTorch state dict ({reason})") from None
    if not isinstance(loaded, dict) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise UnusableModel(path.name, "expected a state dict, a mapping of names to tensors")
    tensors = {str(key): value.float().numpy().astype(np.float32) for key, value in loaded.items()}
    return BaseModel(from_state_dict(tensors, path.name), path.name)


def _check_features(base: BaseModel, n_features: int) -> None:
    if base.n_features != n_features:
        inputs = " + ".join(f"{name}[{width}]" for name, width in base.inputs)
        raise Ending(
            ExitCode.BAD_SETTINGS,
            f"VMAFX_SIDECAR_N_FEATURES={n_features}: {base.name} takes {base.n_features} features ({inputs})",
        )
