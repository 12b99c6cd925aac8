"""The format of published checkpoints, and what is done to a directory of them. Knows no process."""
