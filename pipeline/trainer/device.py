"""Where to train: CUDA when asked for and there, else the processor."""

from __future__ import annotations

from pipeline.config import Settings


def choose_device(settings: Settings) -> tuple[str, str]:
    """Return the torch device, and a note for the operator where it is not what the settings ask for."""
    if not settings.cuda:
        return "cpu", ""
    import torch

    if torch.cuda.is_available():
        return "cuda", ""
    return "cpu", "VMAFX_SIDECAR_CUDA=1, but there is no CUDA device here: training on the CPU"
