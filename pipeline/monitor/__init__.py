"""monitor: watches the other processes and serves what they report."""
