"""simulation: replays samples through the training of the sidecar, to compare recipes."""
