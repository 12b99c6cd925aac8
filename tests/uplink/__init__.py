"""What a sidecar exchanges with its fleet."""
