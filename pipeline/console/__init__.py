"""Commands that look at a running sidecar or start one."""
