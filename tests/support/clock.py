"""A clock that a test moves."""


class Clock:
    """Gives the seconds `now`, which only the test changes."""

    def __init__(self) -> None:
        self.now = 1e5

    def __call__(self) -> float:
        """Return the time."""
        return self.now
