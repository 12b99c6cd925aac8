"""What the demo plays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.corpus.table import Corpus

CHECKPOINTS = 5
"""How many the stream has time for."""


@dataclass(frozen=True)
class Demo:
    """What to play, for how many seconds, at how many frames a second.

    corpus has a part to stream and a part to judge; directory is empty, for the socket and the checkpoints; log is the
    file for what the sidecar says.
    """

    corpus: Corpus
    target: str
    base_model: Path
    seconds: float
    rate: float
    directory: Path
    log: Path

    @property
    def checkpoint_dir(self) -> Path:
        """Where the sidecar publishes."""
        return self.directory / "models"

    def settings(self) -> dict[str, str]:
        """Return the sidecar's environment."""
        interval = self.seconds / (CHECKPOINTS + 1)
        return {
            "VMAFX_SIDECAR_SOCKET": str(self.directory / "sidecar.sock"),
            "VMAFX_SIDECAR_CHECKPOINT_DIR": str(self.checkpoint_dir),
            "VMAFX_BASE_MODEL_PATH": str(self.base_model),
            "VMAFX_SIDECAR_N_FEATURES": str(self.corpus.features.shape[1]),
            "VMAFX_SIDECAR_CKPT_INTERVAL_S": f"{interval:.3f}",
            "VMAFX_SIDECAR_MIN_SAMPLES_CKPT": f"{interval * self.rate / 2:.0f}",
            "VMAFX_SIDECAR_HTTP": "127.0.0.1:0",
        }
