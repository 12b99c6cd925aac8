"""fsck: checks everything that a sidecar has on disk and in shared memory."""
