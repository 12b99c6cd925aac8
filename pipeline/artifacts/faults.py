"""What can be wrong with a registry, by kind."""

KINDS = ("down", "slow", "full", "read-only", "refused", "lost", "garbage", "unsigned", "local")
"""down: not there, or it failed; slow: no answer in time; full: no room; read-only: takes no writes; refused: not with
these credentials; lost: what was stored is gone; garbage: something else is stored there; unsigned: a signature is
missing or of another key; local: what is missing is on this side."""


class RegistryFault(Exception):
    """A registry that does not do its part; the message says which, and what it said. Never holds credentials."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Moved(Exception):
    """A pointer no longer leads to where the caller had seen it."""
