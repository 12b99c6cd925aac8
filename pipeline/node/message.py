"""A scored frame as a line of the wire."""

from __future__ import annotations

import math
import uuid
from typing import TYPE_CHECKING, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    Features = Sequence[float] | npt.NDArray[np.floating]

Detail = str | float | None
"""The value of an optional field; None where it is not known."""


class Message(NamedTuple):
    """One line, newline included, and the job it is of."""

    job_id: str
    line: bytes


def encode(features: Features, true_score: float, job_id: str | None, details: Mapping[str, Detail]) -> Message | None:
    """Return the message; None where a feature or the score is not finite, which JSON cannot carry.

    Without a ``job_id`` the message gets one of its own. Details that are None or not finite are left out.
    """
    values, score = [float(value) for value in features], float(true_score)
    if not (math.isfinite(score) and all(map(math.isfinite, values))):
        return None
    job_id = job_id or uuid.uuid4().hex
    known = {name: value for name, value in details.items() if value is not None and _is_sendable(value)}
    line = msgspec.json.encode({"job_id": job_id, "features": values, "true_score": score, **known})
    return Message(job_id, line + b"\n")


def _is_sendable(value: str | float) -> bool:
    return not isinstance(value, float) or math.isfinite(value)
