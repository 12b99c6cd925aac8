"""Learns again from the archive, as it is now, what the training of a sidecar starts over from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.config import Settings
from pipeline.model.graph import BaseModel, load_base_model, parse_base_model
from pipeline.runtime import control, messages, regions, saved_state
from pipeline.shm.exclusion import without
from pipeline.shm.mailbox import Torn
from pipeline.shm.reservoir import Reservoir
from pipeline.shm.ring import Ring
from pipeline.shm.segment import SegmentError
from pipeline.simulation.run import replay
from pipeline.simulation.samples import of_archive
from pipeline.trainer.base import aimed
from pipeline.trainer.online import OnlineTraining
from pipeline.trainer.recipe import Recipe

Weights = NDArray[np.float32]


class RetrainingError(Exception):
    """There is nothing to learn from, or no base model to start from; the message says why."""


def retrained(
    settings: Settings, archive: Path, progress: Callable[[int, int], None]
) -> tuple[BaseModel, Weights, int]:
    """Return the base model, weights float32[n_parameters] that were trained from it, and on how many samples.

    Held-out groups of the sidecar are held out here, too, and quarantined samples left out. Raises RetrainingError,
    ArchiveError, SamplesError, UnusableModel or ControlError.
    """
    base = _base(settings)
    rows = without(
        of_archive(archive, opinions=settings.opinion_range),
        control.exclusions(control.read(settings.state_dir).control),
    )
    if rows.n_features != base.n_features:
        raise RetrainingError(f"{archive}: samples of {rows.n_features} features, {base.name} takes {base.n_features}")
    recipe, ring = Recipe.from_settings(settings), Ring.private(settings.replay_capacity, rows.n_features)
    reservoir, holdout = (
        Reservoir.private(n, rows.n_features) for n in (settings.reservoir_capacity, settings.holdout_capacity)
    )
    for each in (reservoir, holdout):
        each.open_writer()
        each.claim(1)
    held = _held_out(settings)
    if held is not None:
        holdout.restore(held, 0, 1)
    training = OnlineTraining(base, recipe, ring, reservoir, holdout, seed=settings.seed)
    for done in replay(training, ring, rows, recipe.new_rows):
        progress(done, len(rows))
    return base, training.export_vector().copy(), len(rows)


def _base(settings: Settings) -> BaseModel:
    """Return the base model in use; where no sidecar has one in memory, that of the settings."""
    try:
        letter = regions.attach_mailbox(settings, "model")[0].read()
    except (SegmentError, Torn):
        letter = None
    if letter is not None:
        served = messages.decode_model(letter.payload)
        return parse_base_model(served.onnx, served.name)
    if not isinstance(settings.base_model, Path):
        raise RetrainingError("no sidecar is there to say which base model: give VMAFX_BASE_MODEL_PATH a file")
    return aimed(load_base_model(settings.base_model), settings)


def _held_out(settings: Settings) -> Weights | None:
    """Return the held-out rows float32[n, words of a row] of the sidecar, from memory or saved."""
    try:
        return regions.attach_reservoir(settings, "holdout", settings.holdout_capacity)[0].snapshot().words
    except SegmentError:
        state, _ = saved_state.load(settings.state_dir)
        rows = None if state is None else state.regions.get("holdout")
        return None if rows is None else rows.words
