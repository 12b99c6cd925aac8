"""`vmafx-sidecar demo`: the whole loop on real frames, from the stream to a better model, in about a minute."""
