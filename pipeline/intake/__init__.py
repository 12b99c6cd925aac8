"""The intake: what ingest is to a sidecar it is to a pool; samples come out of the fleet's stream."""
