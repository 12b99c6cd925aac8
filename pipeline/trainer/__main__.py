"""The trainer process: `python -m pipeline.trainer`."""

from __future__ import annotations

import sys

from pipeline.runtime.process import main
from pipeline.runtime.reports import TrainerReport
from pipeline.trainer.loop import serve

if __name__ == "__main__":
    sys.exit(main("trainer", TrainerReport, serve))
