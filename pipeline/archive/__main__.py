"""The archive process: `python -m pipeline.archive`."""

from __future__ import annotations

import sys

from pipeline.archive.loop import serve
from pipeline.runtime.process import main
from pipeline.runtime.reports import ArchiveReport

if __name__ == "__main__":
    sys.exit(main("archive", ArchiveReport, serve))
