"""The intake process: `python -m pipeline.intake`. It has the role of ingest: it alone writes the ring."""

from __future__ import annotations

import sys

from pipeline.intake.loop import serve
from pipeline.runtime.process import main
from pipeline.runtime.reports import IngestReport

if __name__ == "__main__":
    sys.exit(main("ingest", IngestReport, serve))
