"""libvmaf's logs, of ffmpeg's filter and of the `vmaf` tool: read, checked, sent and scored (docs/libvmaf.md)."""
