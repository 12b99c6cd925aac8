"""Commands that look at a running sidecar or set one going."""
