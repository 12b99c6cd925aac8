"""The index of models in a directory: `registry.json`, its digests, and the command that keeps it."""
