"""A pool's intake."""
