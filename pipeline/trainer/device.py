"""Where to train: CUDA when asked for and there, else the processor."""

from __future__ import annotations

import contextlib

from pipeline.config import Settings
from pipeline.runtime.extras import lacking


def choose_device(settings: Settings) -> tuple[str, str]:
    """Return the torch device, and a note for the operator where it is not what the settings ask for."""
    if not settings.cuda:
        return "cpu", ""
    why = lacking("torch", "CUDA") or _no_device()
    return ("cpu", f"VMAFX_SIDECAR_CUDA=1, but {why}: training on the CPU") if why else ("cuda", "")


def _no_device() -> str:
    """Return why torch cannot use CUDA here; empty where it can."""
    import torch

    if torch.cuda.is_available():
        return ""
    built = torch.version.cuda or torch.version.hip
    return "there is no CUDA device here" if built else "this build of torch has no CUDA"


def release() -> None:
    """Give back the device memory that torch keeps for later, as far as the device still answers."""
    import torch

    with contextlib.suppress(RuntimeError):
        torch.cuda.empty_cache()
