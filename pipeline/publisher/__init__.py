"""The publisher: brings the newest stable checkpoint into a registry, and keeps its pointer right."""
