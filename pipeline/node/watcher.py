"""`CheckpointWatcher`: the model that a node predicts with, kept up to date while it predicts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.model.errors import UnusableModel
from pipeline.node.log import log
from pipeline.node.model import NodeModel, Origin, admit, all_finite, plain_probe
from pipeline.node.policy import LATEST_STABLE, Policy
from pipeline.node.source import source_of

if TYPE_CHECKING:
    from pipeline.node.model import Matrix, Vector

POLL_S = 60.0

Swap = Callable[[NodeModel, NodeModel], None]


class CheckpointWatcher:
    """Predicts with the best checkpoint there is by the policy, and with the base model until there is one.

    A thread looks into the directory every ``poll_s`` seconds, and at once on a `hint`. A new checkpoint is verified,
    loaded beside the one in use and tried on ``probe`` (float32[n, n_features]; plain values where not given) before
    new predictions go to it. Predictions under way hold on to the model they began with, whose session is freed
    when the last of them returns. ``on_swap(before, after)`` is called on the watcher's thread.

    Where the policy leaves no checkpoint that can be used, as when the only one was withdrawn, it goes back to the base
    model. A directory or a file that cannot be read withdraws nothing.

    In place of the directory there may be the URL of a registry, such as ``oci://host/repository``: for nodes that do
    not share a volume with a sidecar. With ``public_key``, a PEM file, nothing is taken from there that this key has
    not signed.

    A checkpoint that fails is never tried again. Raises `UnusableModel` where the base model cannot be used.
    """

    def __init__(
        self,
        directory: Path | str,
        base: Path | str,
        policy: Policy | str = LATEST_STABLE,
        *,
        poll_s: float = POLL_S,
        probe: Matrix | None = None,
        on_swap: Swap = lambda _before, _after: None,
        public_key: Path | str | None = None,
    ) -> None:
        self._where = str(directory)
        parsed = Policy.parse(policy) if isinstance(policy, str) else policy
        self._source = source_of(directory, parsed, public_key)
        self._poll_s = poll_s
        self._on_swap = on_swap
        self._base = Origin(str(base), Path(base))
        self._previous = self._base
        self._current = NodeModel.load(self._base)
        self._probe = plain_probe(self._current.session.n_features) if probe is None else probe
        self._failed: set[str] = set()
        self._withheld = ""
        self._changing = threading.Lock()
        self._closed = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
        self._thread.start()

    @property
    def model(self) -> NodeModel:
        """The model in use."""
        return self._current

    def predict(self, features: Matrix) -> Vector:
        """Return the scores float32[n] of features float32[n, n_features]; safe from any thread.

        Where the model in use gives a score that is not finite and the one before it does not, that one is used
        from then on.
        """
        model = self._current
        scores = model.predict(features)
        if all_finite(scores) or not all_finite(features):
            return scores
        return self._second_opinion(model, features, scores)

    def hint(self, checkpoint: str) -> None:
        """Look at once: a new checkpoint was announced. Returns immediately; which one is taken is up to the policy."""
        log.debug("checkpoint_announced", checkpoint=checkpoint)
        self._wake.set()

    def close(self) -> None:
        """Stop looking; `predict` goes on with the model in use."""
        self._closed = True
        self._wake.set()
        self._thread.join()
        self._source.close()

    def _run(self) -> None:
        log.load()
        while not self._closed:
            self._look()
            self._wake.wait(self._poll_s)
            self._wake.clear()

    def _look(self) -> None:
        try:
            usable = self._take_best()
        except OSError as error:  # a directory that is away, or not there yet, says nothing about what is in use
            log.debug("directory_unreadable", directory=self._where, reason=str(error))
            return
        if not usable:
            self._go_back_to_base()

    def _take_best(self) -> bool:
        """Use the best checkpoint that can be used; tell whether there is one, or may be one. OSError: nobody knows."""
        found, all_read = False, True
        for path in self._source.candidates():
            found = True
            try:
                if path.name == self._current.name or self._take(path):
                    return True
            except OSError as error:  # retention may have removed it since it was listed
                all_read = False
                log.info("checkpoint_unreadable", checkpoint=path.name, reason=str(error))
        if not found:
            self._say_why_none()
        return not all_read

    def _say_why_none(self) -> None:
        """Say, once for each new checkpoint, why it is not one to predict with."""
        withheld = self._source.withheld()
        if withheld is not None and withheld[0].name != self._withheld:
            path, reason = withheld
            self._withheld = path.name
            log.info("checkpoint_withheld", checkpoint=path.name, reason=reason)

    def _take(self, path: Path) -> bool:
        """Change to a checkpoint; tell whether it can be used. OSError where it cannot be read (now)."""
        if path.name in self._failed:
            return False
        try:
            model = admit(path, self._probe)
        except UnusableModel as error:
            self._failed.add(path.name)
            log.warning("checkpoint_refused", checkpoint=path.name, reason=str(error))
            return False
        self._change_to(model)
        return True

    def _go_back_to_base(self) -> None:
        if self._current.name == self._base.name:
            return
        try:
            base = NodeModel.load(self._base)
        except UnusableModel as error:
            log.error("checkpoint_refused", checkpoint=self._base.name, reason=str(error))
            return
        log.warning("checkpoint_withdrawn", checkpoint=self._current.name, to=base.name)
        self._change_to(base)

    def _change_to(self, model: NodeModel) -> None:
        with self._changing:
            before = self._replace_by(model)
        self._tell(before, model)

    def _replace_by(self, model: NodeModel) -> NodeModel:
        before, self._current = self._current, model
        self._previous = before.origin
        return before

    def _tell(self, before: NodeModel, after: NodeModel) -> None:
        try:
            self._on_swap(before, after)
        except Exception:  # the encoder's fault must not end the thread that looks for checkpoints
            log.exception("swap_callback_failed", checkpoint=after.name)

    def _second_opinion(self, model: NodeModel, features: Matrix, scores: Vector) -> Vector:
        with self._changing:
            if self._current is not model:  # another thread has replaced it since
                return self._current.predict(features)
            previous = NodeModel.load(self._previous)
            opinion = previous.predict(features)
            if not all_finite(opinion):
                return scores
            self._failed.add(model.name)
            self._replace_by(previous)
            self._previous = self._base
        log.error("model_rolled_back", checkpoint=model.name, to=previous.name, reason="a score is not finite")
        return opinion
