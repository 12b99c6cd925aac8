"""ingest: takes samples from the nodes' socket into the ring."""
