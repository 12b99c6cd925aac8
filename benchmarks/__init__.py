"""Benchmarks: one file per question, each figure a ratio taken in one run."""
