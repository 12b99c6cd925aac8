"""Benchmarks: one file per question, each figure a ratio taken in one run."""

import os

# As in the sidecar's own processes; it has to be set before numpy is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
