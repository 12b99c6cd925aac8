"""The publisher process: `python -m pipeline.publisher`."""

from __future__ import annotations

import sys

from pipeline.publisher.loop import serve
from pipeline.runtime.process import main
from pipeline.runtime.reports import PublisherReport

if __name__ == "__main__":
    sys.exit(main("publisher", PublisherReport, serve))
