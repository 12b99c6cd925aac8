"""The exporter process: `python -m pipeline.exporter`."""

from __future__ import annotations

import sys

from pipeline.exporter.loop import ExportRequest, serve
from pipeline.runtime.process import main
from pipeline.runtime.reports import ExporterReport

if __name__ == "__main__":
    request = ExportRequest()
    sys.exit(main("exporter", ExporterReport, lambda process: serve(process, request)))
