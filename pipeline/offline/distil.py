"""From a committee to one network: students learn what the committee says (Buciluă et al. 2006, Hinton et al. 2015).

One network of a few hundred weights says something of its own wherever training rows are few, another with each seed.
The mean of many says much less of that, and can be asked anywhere: also between rows and around them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from pipeline.offline.ensemble import Member
from pipeline.offline.fit import SCALE, Fit

_MEMBERS_A_STUDENT = 3  # a student takes longer to train, and of few the closest is nearly as close as of many
_SPREAD = 0.3  # of the noise around mixtures, at most, in standard deviations of a feature
_WATCHED = 4096  # rows, drawn apart, by which students are compared


@dataclass(frozen=True)
class Lessons:
    """What students learn from: features float32[n, k] and scores float32[n]."""

    features: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    students: list[Member]
    """Their rows index both arrays."""
    a_fold: int
    """How many students each fold has."""


def lessons(committee: Fit, members: Sequence[Member], corpus_features: npt.NDArray[np.float32], size: int) -> Lessons:
    """Ask each fold's committee, `size` members in a row, about the rows that the fold sees and as many mixtures."""
    features: list[npt.NDArray[np.float32]] = []
    scores: list[npt.NDArray[np.float32]] = []
    students: list[Member] = []
    asked = 0
    for first in range(0, len(members), size):
        fold = members[first : first + size]
        seen = corpus_features[np.sort(np.concatenate([fold[0].training, fold[0].validation]))]
        random = np.random.default_rng([member.seed for member in fold])
        shown = np.concatenate([seen, _mixtures(seen, len(seen), random)])
        watched = np.concatenate([random.permutation(seen)[:_WATCHED], _mixtures(seen, _WATCHED, random)])
        features += [shown, watched]
        scores += [_asked(committee, slice(first, first + size), rows) for rows in (shown, watched)]
        training = np.arange(asked, asked + len(shown))
        asked += len(shown) + len(watched)
        validation = np.arange(training[-1] + 1, asked)
        taught = fold[::_MEMBERS_A_STUDENT]
        students += [Member(member.seed, member.left_out, training, validation) for member in taught]
    return Lessons(np.concatenate(features), np.concatenate(scores), students, len(taught))


def _mixtures(seen: npt.NDArray[np.float32], n: int, random: np.random.Generator) -> npt.NDArray[np.float32]:
    """Return [n, k] of points between two rows each, with noise, so that some lie a little outside of all rows."""
    one, other = seen[random.integers(len(seen), size=(2, n))]
    share, spread = random.random((2, n, 1))
    noise = _SPREAD * spread * seen.std(axis=0) * random.standard_normal((n, seen.shape[1]))
    mixed: npt.NDArray[np.float32] = (share * one + (1 - share) * other + noise).astype(np.float32)
    return mixed


@torch.no_grad()
def _asked(committee: Fit, members: slice, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return float32[n] for rows [n, k]: the mean of what some members say, without the lowest and highest quarter."""
    said, _ = committee.predict(members, torch.from_numpy(rows)).sort(0)
    quarter = len(said) // 4
    middle: npt.NDArray[np.float32] = (SCALE * said[quarter : len(said) - quarter].mean(0)).float().numpy()
    return middle
