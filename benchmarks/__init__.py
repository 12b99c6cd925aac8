"""Benchmarks: one file per question, each figure a ratio taken in one run."""

import os

from pipeline import blas

# As in the sidecar's own processes; it has to be set before numpy is imported.
for name, value in blas.environment().items():
    os.environ.setdefault(name, value)
