"""The log between sidecars and a pool."""
