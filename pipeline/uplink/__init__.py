"""The uplink: sends samples out of the ring to the fleet, and takes the pool's models."""
