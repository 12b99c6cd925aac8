"""A result of the verifier."""

from __future__ import annotations

import msgspec


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at, whether it is as it should be, and the figures or the reason."""

    what: str
    sound: bool
    detail: str
