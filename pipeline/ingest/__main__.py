"""The ingest process: `python -m pipeline.ingest`."""

from __future__ import annotations

import sys

from pipeline.ingest.loop import serve
from pipeline.runtime.process import main
from pipeline.runtime.reports import IngestReport

if __name__ == "__main__":
    sys.exit(main("ingest", IngestReport, serve))
