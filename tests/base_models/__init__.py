"""Every kind of base model, through a real sidecar."""
