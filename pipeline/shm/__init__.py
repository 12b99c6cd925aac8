"""Shared memory: regions with exactly one writer each, which no reader can make wait."""
