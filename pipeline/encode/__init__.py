"""`vmafx-sidecar encode`: a node on one machine, which encodes, measures, sends, and predicts with what comes of it."""
