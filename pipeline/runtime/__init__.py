"""What every process shares: its life, reports, logs, locks, and the memory and files that they meet in."""
