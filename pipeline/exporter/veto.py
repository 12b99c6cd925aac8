"""What operators have said against a candidate: nothing may become stable, or a model that they withdrew may not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pipeline.exporter.gate import GateSet, Predict, Rows
from pipeline.model.runtime import OnnxModel
from pipeline.runtime.control import Control, withdrawn_model

LIKENESS = 0.5
"""A candidate counts as the return of a withdrawn model where it is nearer to that than by this share of the way from
there to the model that is in its place: root mean square differences of what they predict on the gate set."""


def vetoes(
    control: Control, state_dir: Path, base_digest: str, candidate: Predict, in_place: Predict, sets: Sequence[GateSet]
) -> Iterator[str]:
    """Yield why the candidate must not become stable. `in_place` is the last stable model, else the base model.

    Raises UnusableModel or OSError where a withdrawn model cannot be compared with.
    """
    if control.frozen is not None:
        yield f"An operator has frozen what is stable ({control.frozen.user} at {control.frozen.at})."
    rows = np.concatenate([each.features for each in sets]) if sets else np.zeros((0, 0), np.float32)
    for each in control.withdrawn:
        if each.base_digest != base_digest or not len(rows):
            continue
        withdrawn = OnnxModel(withdrawn_model(state_dir, each).read_bytes()).predict
        share = _likeness(candidate, withdrawn, in_place, rows)
        if share <= LIKENESS:
            yield (
                f"It predicts nearly what version {each.version} does, which an operator has withdrawn: it is "
                f"{share:.0%} as far from it as the model in its place ({LIKENESS:.0%} allowed; "
                f"vmafx-sidecar rollback --lift {each.version})."
            )


def _likeness(candidate: Predict, withdrawn: Predict, in_place: Predict, rows: Rows) -> float:
    """Return how far the candidate is from the withdrawn model, as a share of how far the one in its place is."""
    bad = withdrawn(rows)
    distances = [float(np.sqrt(np.mean((model(rows) - bad) ** 2, dtype=np.float64))) for model in (candidate, in_place)]
    return distances[0] / distances[1] if distances[1] else float(distances[0] > 0)
