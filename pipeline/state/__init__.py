"""What outlives all processes: the saved state, and who fills which region from it at the start."""
