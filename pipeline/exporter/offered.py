"""The first candidate of a sidecar that began with nothing: what its registry had, judged before a node sees it."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

import msgspec
from structlog.typing import FilteringBoundLogger

from pipeline.artifacts import offer
from pipeline.artifacts.faults import RegistryFault
from pipeline.artifacts.offer import About
from pipeline.checkpoints.checkpoint import Checkpoint, Verdict
from pipeline.config import Settings
from pipeline.model.errors import UnusableModel
from pipeline.model.graph import BaseModel, parse_base_model
from pipeline.model.runtime import OnnxModel
from pipeline.runtime import control
from pipeline.runtime.control import Control, Order, Reset


class Use(Enum):
    """What the gate's verdict on an offered model means for it."""

    PUBLISH = "stable"
    WAIT = "unproven"
    REFUSE = "unstable"


class Offered(NamedTuple):
    """An offered model that fits the base model: its file, the same loaded in ONNX Runtime, and where it comes from."""

    onnx: bytes
    model: OnnxModel
    about: About

    @property
    def origin(self) -> str:
        """The model's name in the registry."""
        return f"{self.about.registry}@{self.about.digest}"


class Offers:
    """The offer in the state directory, from its arrival until it is published or refused."""

    def __init__(self, settings: Settings, log: FilteringBoundLogger) -> None:
        self._settings, self._directory, self._log = settings, settings.state_dir, log

    def take(self, base: BaseModel, stable: Checkpoint | None) -> Offered | None:
        """Return the offer if it may still become the first stable checkpoint. Raises OSError.

        One that was published already is carried to its end: the training starts from it.
        """
        if not offer.is_there(self._directory):
            return None
        try:
            found = offer.read(self._directory)
            offered = _fitting(found, base) if found is not None else None
        except (RegistryFault, UnusableModel) as error:
            self._dismiss(str(error))
            return None
        if offered is None or stable is None:
            return offered
        if stable.sha256 == offered.about.sha256:
            self.start_from(offered, base, stable.version)
        else:
            self._dismiss("there is a stable checkpoint of this sidecar's own")
        return None

    def use(self, offered: Offered, verdict: Verdict) -> Use:
        """Say what follows from the verdict: while the gate cannot tell, the offer waits."""
        use = Use(verdict.state)
        if use is Use.REFUSE:
            self._dismiss(verdict.reason, offered.origin)
        return use

    def start_from(self, offered: Offered, base: BaseModel, version: int) -> None:
        """Order the training to start from the offered model, which is published as `version`.

        Raises OSError or ControlError; the offer then stays, and this is done the next time.
        """

        def alter(now: Control, order: Order) -> Control:
            reset = Reset(number=order.number, to=str(version), base_digest=base.digest)
            return msgspec.structs.replace(now, reset=reset)

        weights = parse_base_model(offered.onnx, offer.MODEL).vector().tobytes()
        control.change(self._settings, f"reset --to {version}", f"offered by {offered.origin}", alter, weights)
        self._log.info("offer_taken", version=version, digest=offered.about.digest)
        offer.remove(self._directory)

    def _dismiss(self, reason: str, origin: str = "") -> None:
        self._log.warning("offer_refused", reason=reason, origin=origin)
        offer.remove(self._directory)


def _fitting(found: offer.Offer, base: BaseModel) -> Offered:
    """Return the model if it is the base model with other weights. Raises UnusableModel."""
    if found.about.base_sha256 != base.digest:
        raise UnusableModel(
            found.about.digest, f"of base model {found.about.base_sha256[:12]}, here {base.digest[:12]}"
        )
    weights = parse_base_model(found.onnx, found.about.digest).vector()
    if len(weights) != base.n_parameters or base.with_weights(weights) != found.onnx:
        raise UnusableModel(found.about.digest, "differs from the base model in more than its weights")
    return Offered(found.onnx, OnnxModel(found.onnx), found.about)
