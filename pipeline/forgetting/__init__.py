"""forgetting: removes samples from everything that a sidecar keeps."""
