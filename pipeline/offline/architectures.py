"""The networks that can be trained: features in, ReLU layers, one score out."""

import math
from itertools import pairwise

ARCHITECTURES: dict[str, tuple[int, ...]] = {
    "linear": (),
    "mlp_small": (16, 8),
    "mlp_medium": (64, 32),
    "2x64": (64, 64),
    "3x128": (128, 128, 128),
    "4x256": (256, 256, 256, 256),
}
"""Hidden widths by name. The first three are those of the platform's record ADR-0203, the others of ADR-0685."""


def widths(architecture: str, n_features: int) -> tuple[int, ...]:
    """Return the widths of all layers, input and output included."""
    return (n_features, *ARCHITECTURES[architecture], 1)


def n_parameters(architecture: str, n_features: int) -> int:
    """Return how many weights and biases train."""
    return sum(before * after + after for before, after in pairwise(widths(architecture, n_features)))


def learning_rate(architecture: str) -> float:
    """Return a first learning rate for Adam: 0.01 up to 16 wide, then falling with the root of the width."""
    return 0.01 * min(1.0, math.sqrt(16 / max((*ARCHITECTURES[architecture], 1))))
