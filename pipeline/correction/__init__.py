"""Local bias correction: what a host learns to add to the scores of a predictor that must not change.

Usable alone: needs NumPy and msgspec, and none of the processes of this package.
"""

from pipeline.correction.captures import Corrected, CorrectionError, Observation, Outcome, Query
from pipeline.correction.model import CorrectionModel, Settings
from pipeline.correction.predictor import CorrectedPredictor
from pipeline.correction.store import CorrectionStore

__all__ = [
    "Corrected",
    "CorrectedPredictor",
    "CorrectionError",
    "CorrectionModel",
    "CorrectionStore",
    "Observation",
    "Outcome",
    "Query",
    "Settings",
]
