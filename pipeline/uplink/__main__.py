"""The uplink process: `python -m pipeline.uplink`."""

from __future__ import annotations

import sys

from pipeline.runtime.process import main
from pipeline.runtime.reports import UplinkReport
from pipeline.uplink.loop import serve

if __name__ == "__main__":
    sys.exit(main("uplink", UplinkReport, serve))
