"""The monitor process: `python -m pipeline.monitor`, an event listener of supervisord."""

from __future__ import annotations

import sys

from pipeline.monitor.loop import serve
from pipeline.runtime.process import main
from pipeline.runtime.reports import MonitorReport

if __name__ == "__main__":
    sys.exit(main("monitor", MonitorReport, serve))
