"""fsck: whether what a sidecar has on disk and in shared memory keeps its promises."""
