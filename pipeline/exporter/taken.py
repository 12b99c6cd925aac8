"""What the base model of the settings takes: by its `.json`, or by its width."""

from __future__ import annotations

from pathlib import Path

from pipeline.artifacts.base import CACHE, place
from pipeline.artifacts.reference import Reference
from pipeline.config import Settings
from pipeline.model.errors import UnusableModel
from pipeline.model.features import Features, default_names, features_of
from pipeline.model.graph import load_base_model


def base_path(settings: Settings) -> Path | None:
    """Return where the base model of the settings is, or will be when it has been fetched."""
    base = settings.base_model
    return place(base, settings.state_dir / CACHE) if isinstance(base, Reference) else base


def taken_by_base(base: Path | None, n_features: int) -> Features:
    """Return the `n_features` that the base model takes; raises UnusableModel where its `.json` does not fit it.

    Of a model that is not there yet, or of no use, or of another width, only the width counts that was configured: the
    trainer waits for it, or says what is wrong.
    """
    unnamed = Features.of(default_names(n_features), named=False)
    if base is None:
        return unnamed
    try:
        inputs = load_base_model(base).inputs if base.suffix.lower() == ".onnx" else (("features", n_features),)
    except (OSError, UnusableModel):
        return unnamed
    taken = features_of(base, inputs)
    return taken if len(taken) == n_features else unnamed
