"""Whether the registry's pointer has to move, and to what: it only ever leads to the newest version that is stable.

Within a directory the version says which is newer, between directories the time at which a model was made.
"""

from __future__ import annotations

from enum import Enum

from pipeline.artifacts.artifact import CREATED, MODEL_SHA256, WITHDRAWN, WITHDRAWN_TYPE, Manifest
from pipeline.artifacts.published import created, version_of
from pipeline.publisher.directory import Directory


class Step(Enum):
    """What is to be done."""

    STAY = "the pointer is right"
    PUSH = "lead it to the newest stable version of the directory"
    BACK = "the same, since what it leads to was withdrawn"
    WITHDRAW = "lead it to nothing: what it leads to was withdrawn, and there is no other"


def decide(here: Directory, there: Manifest | None, *, is_ours: bool) -> Step:
    """Compare the directory with the manifest that the pointer leads to, None for none.

    The pointer has to be read before the directory: whatever another publisher of this directory had seen when it moved
    the pointer is then seen here, too. `is_ours`: this directory's publisher has pushed what it leads to.
    """
    newest = here.stable
    if there is None:
        return Step.PUSH if newest else Step.STAY
    if there.artifact_type == WITHDRAWN_TYPE:
        is_other = newest is not None and newest.sha256 != there.annotations.get(WITHDRAWN)
        return Step.PUSH if is_other else Step.STAY
    version, sha256 = version_of(there), there.annotations.get(MODEL_SHA256, "")
    if newest is not None and newest.sha256 == sha256:
        return Step.STAY
    if here.has(version, sha256):
        withdrawn = here.is_withdrawn(version)
    elif is_ours and 0 < version <= here.highest:
        withdrawn = True  # it was removed
    else:
        is_newer = newest is not None and created({CREATED: newest.created}) > created(there.annotations)
        return Step.PUSH if is_newer else Step.STAY
    if withdrawn:
        return Step.BACK if newest else Step.WITHDRAW
    return Step.PUSH if newest is not None and newest.version > version else Step.STAY
