"""What every process shares: start and end, reports, logs, locks, and the shared memory and files."""
