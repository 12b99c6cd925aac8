"""From live weights to checkpoints: judged, published durably, indexed, and the state that a restart resumes from."""
