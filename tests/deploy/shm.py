"""What the regions of a sidecar take in /dev/shm, by the program's own layouts."""

from pipeline.config import Settings
from pipeline.runtime import reports
from pipeline.runtime.journal import CAPACITY
from pipeline.shm.mailbox import Mailbox
from pipeline.shm.reservoir import Reservoir
from pipeline.shm.ring import Ring
from pipeline.shm.segment import HEADER_SIZE

MIB = 1 << 20
PAGE = 4096


def sample_bytes(settings: Settings) -> int:
    """Return the bytes of the three regions that hold samples."""
    n_features = settings.n_features
    layouts = (
        Ring.layout(settings.replay_capacity, n_features),
        Reservoir.layout(settings.reservoir_capacity, n_features),
        Reservoir.layout(settings.holdout_capacity, n_features),
    )
    return sum(_pages(HEADER_SIZE + layout.size) for layout in layouts)


def report_bytes() -> int:
    """Return the bytes of the reports and log events of all processes."""
    journal = len(reports.ROLES) * Mailbox.size(CAPACITY)
    return _pages(HEADER_SIZE + reports.layout().size) + _pages(HEADER_SIZE + journal)


def _pages(size: int) -> int:
    return -(-size // PAGE) * PAGE
