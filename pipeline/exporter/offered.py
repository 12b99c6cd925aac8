"""Models from elsewhere: judged like every candidate, and never seen by a node before they are stable.

One comes from the registry, for a sidecar that begins with nothing; others from the fleet's pool, at any time.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import NamedTuple

import msgspec
import numpy as np

from pipeline.artifacts import offer
from pipeline.artifacts.faults import RegistryFault
from pipeline.artifacts.offer import About, Slot
from pipeline.checkpoints.checkpoint import Checkpoint, Verdict
from pipeline.config import Settings
from pipeline.exporter.bootstrap import PairedErrors
from pipeline.exporter.gate import WORSE_CONFIDENCE
from pipeline.model.errors import UnusableModel
from pipeline.model.graph import BaseModel, parse_base_model
from pipeline.model.runtime import OnnxModel
from pipeline.runtime import control
from pipeline.runtime.control import Control, Order, Reset
from pipeline.runtime.logs import Logger
from pipeline.runtime.messages import TrainerSnapshot
from pipeline.shm.rows import RowBatch

MARGIN = 0.1
"""Points of RMSE by which a model of the pool's may be worse than what is learned here, besides noise. It has learned
from more content, and is better on what comes next, though what was learned here fits the content of here a little
closer (docs/fleet-results.md)."""


class Offered(NamedTuple):
    """An offered model that fits the base model: its file, the same loaded in ONNX Runtime, and where it comes from."""

    slot: Slot
    onnx: bytes
    model: OnnxModel
    about: About

    @property
    def origin(self) -> str:
        """The model's name in the registry."""
        return f"{self.about.registry}@{self.about.digest}"


class Outcome(NamedTuple):
    """What became of an offer: one of `offer.OUTCOMES`, or empty while it waits; and the same in a line."""

    name: str
    told: str


class Offers:
    """The offers in the state directory, each from its arrival until it is published or refused.

    `outcomes` has what became of them, until another thread takes that away.
    """

    def __init__(self, settings: Settings, log: Logger) -> None:
        self._settings, self._directory, self._log = settings, settings.state_dir, log
        self.outcomes: deque[Outcome] = deque()

    @property
    def are_there(self) -> bool:
        """Whether there is an offer that has not been judged, or not been carried to its end."""
        with suppress(OSError):
            return any(offer.is_there(self._directory, slot) for slot in Slot)
        return False

    def take(self, slot: Slot, base: BaseModel, stable: Checkpoint | None) -> Offered | None:
        """Return the offer if there is one that may be judged. Raises OSError.

        The registry's may only become the first stable checkpoint.
        """
        try:
            found = offer.read(self._directory, slot)
        except RegistryFault as fault:  # it is removed
            self._tell("unfit", str(fault))
            return None
        if found is None:
            return None
        try:
            offered = _fitting(slot, found, base)
        except UnusableModel as error:
            self._dismiss(slot, found.about, "unfit", str(error))
            return None
        if slot is Slot.FIRST and stable is not None and stable.sha256 != offered.about.sha256:
            self._dismiss(slot, found.about, "unfit", "there is a stable checkpoint of this sidecar's own")
            return None
        return offered

    def wait(self, offered: Offered, reason: str) -> None:
        """Say why an offer cannot be judged yet."""
        self.outcomes.append(Outcome("", f"waits: {offered.origin}: {reason}"))

    def refuse(self, offered: Offered, verdict: Verdict) -> None:
        """Remove an offer that the gate does not let pass."""
        self._dismiss(offered.slot, offered.about, "refused", verdict.reason)

    def settle(self, offered: Offered, made: Checkpoint, base: BaseModel, *, start: bool) -> None:
        """Carry an offer to its end that is published as `made`; with `start`, order the training to start from it.

        Raises OSError or ControlError; the offer then stays, and this is done the next time.
        """
        if start:
            self._start_from(offered, base, made.version)
        offer.remove(self._directory, offered.about, offered.slot)
        goes_on = "starts from it" if start else "goes on from the live weights, which are better"
        self._log.info("offer_taken", version=made.version, digest=offered.about.digest, training=goes_on)
        self.outcomes.append(Outcome("taken", f"version {made.version}: {offered.origin}; training {goes_on}"))

    def _start_from(self, offered: Offered, base: BaseModel, version: int) -> None:
        def alter(now: Control, order: Order) -> Control:
            reset = Reset(number=order.number, to=str(version), base_digest=base.digest)
            return msgspec.structs.replace(now, reset=reset)

        weights = parse_base_model(offered.onnx, offered.about.digest).vector().tobytes()
        control.change(self._settings, f"reset --to {version}", f"offered by {offered.origin}", alter, weights)

    def _dismiss(self, slot: Slot, about: About, outcome: str, reason: str) -> None:
        offer.remove(self._directory, about, slot)
        self._tell(outcome, reason, f"{about.registry}@{about.digest}")

    def _tell(self, outcome: str, reason: str, origin: str = "") -> None:
        self._log.warning("offer_refused", reason=reason, origin=origin)
        self.outcomes.append(Outcome(outcome, ": ".join(filter(None, (outcome, origin, reason)))))


def may_go_on_from(offered: OnnxModel, snapshot: TrainerSnapshot, base: BaseModel, holdout: RowBatch | None) -> bool:
    """Whether training may go on from a model: on the held-out rows it is not worse than the weights in training.

    As these would ship, by `MARGIN` points of RMSE and noise. Weights that are of no use are worse than any model.
    """
    if holdout is None or not len(holdout):
        return False
    live = snapshot.export_vector()
    if not np.isfinite(live).all():
        return True
    rows = np.ascontiguousarray(holdout.features)
    ours, theirs = (model.predict(rows).astype(np.float64) - holdout.score for model in (offered, _loaded(base, live)))
    if not np.isfinite(theirs).all():
        return True
    return PairedErrors(ours, theirs, holdout.group).rmse_difference(1 - WORSE_CONFIDENCE) <= MARGIN


def _loaded(base: BaseModel, weights: np.ndarray[tuple[int], np.dtype[np.float32]]) -> OnnxModel:
    return OnnxModel(base.with_weights(weights))


def _fitting(slot: Slot, found: offer.Offer, base: BaseModel) -> Offered:
    """Return the model if it is the base model with other weights. Raises UnusableModel."""
    if found.about.base_sha256 != base.digest:
        raise UnusableModel(
            found.about.digest, f"of base model {found.about.base_sha256[:12]}, here {base.digest[:12]}"
        )
    weights = parse_base_model(found.onnx, found.about.digest).vector()
    if len(weights) != base.n_parameters or base.with_weights(weights) != found.onnx:
        raise UnusableModel(found.about.digest, "differs from the base model in more than its weights")
    return Offered(slot, found.onnx, OnnxModel(found.onnx), found.about)
