"""One process that records captures: `python -m tests.correction.recorder CACHE_DIR SEED N`.

It prints a line after each capture that is on disk.
"""

import sys
from pathlib import Path

from pipeline.correction import CorrectionStore, Settings
from tests.correction.encodes import encodes

LINEAR = Settings(quadratic=False)
"""Its fit is the same for every order of the captures."""


def main(cache_dir: str, seed: str, n: str) -> None:
    """Record n captures one by one."""
    store = CorrectionStore("v1", Path(cache_dir), LINEAR)
    for capture in encodes(int(n), noise=2.0, seed=int(seed)):
        store.record("libx264", capture)
        sys.stdout.write("recorded\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
