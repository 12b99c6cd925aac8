"""Whose errors they are: RMSE by codec, node, tenant and height of the rows of a gate set."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from pipeline.checkpoints.checkpoint import Part

LARGEST = 8
"""So many of each kind are shown by name, those with most rows; the others together."""
OTHER = "other"
UNNAMED = "not named"

Errors = npt.NDArray[np.float64]


def by_owner(
    ours: Errors, base: Errors, owners: Mapping[str, npt.NDArray[np.integer]], names: Mapping[str, Mapping[int, str]]
) -> dict[str, dict[str, Part]]:
    """Return the figures by kind of owner and its name; only of kinds that some row names.

    `owners` tells by kind whose each row is, int[n] with 0 for nobody; `names` has names by kind and number.
    """
    return {kind: _by(ours, base, owner, names.get(kind, {})) for kind, owner in owners.items() if owner.any()}


def label(number: int, names: Mapping[int, str]) -> str:
    """Return the name of a hash; its hexadecimal digits where that is not known."""
    return names.get(number, f"{number:016x}")


def _by(ours: Errors, base: Errors, owner: npt.NDArray[np.integer], names: Mapping[int, str]) -> dict[str, Part]:
    who, index, rows = np.unique(owner, return_inverse=True, return_counts=True)
    largest = np.argsort(-rows, kind="stable")[:LARGEST].tolist()
    parts = {}
    for place in largest:
        number = int(who[place])
        called = label(number, names) if number else UNNAMED
        while called in parts or called == OTHER:
            called += "'"  # a sender may choose any name
        parts[called] = _part(ours[index == place], base[index == place])
    rest = ~np.isin(index, largest)
    return parts | ({OTHER: _part(ours[rest], base[rest])} if rest.any() else {})


def _part(ours: Errors, base: Errors) -> Part:
    figures = (float(np.sqrt(np.mean(errors**2))) for errors in (ours, base))
    candidate, of_base = (figure if np.isfinite(figure) else None for figure in figures)
    return Part(len(ours), candidate, of_base)
