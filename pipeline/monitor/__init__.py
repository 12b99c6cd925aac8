"""monitor: watches the three pipeline processes and serves what they report."""
