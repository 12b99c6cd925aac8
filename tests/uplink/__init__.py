"""The uplink."""
