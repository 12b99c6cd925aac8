"""What can be wrong with a fleet's servers, by kind."""

from __future__ import annotations

import asyncio
import ssl

from nats import errors
from nats.js import errors as js

from pipeline.fleet.client import NotEncrypted

_NO_ROOM = {10002, 10012, 10023, 10028, 10047, 10049, 10077}
"""Codes of JetStream: limits of account, server or stream; a consumer or a stream that cannot be written to disk."""


class FleetFault(Exception):
    """The fleet's servers do not do their part; the message says what they said."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def fault_of(error: BaseException) -> FleetFault:
    """Say in these terms what the client or the network raised."""
    if isinstance(error, FleetFault):
        return error
    text = str(error) or type(error).__name__
    return FleetFault(_kind_of(error, text), text)


def _kind_of(error: BaseException, text: str) -> str:
    if isinstance(error, js.KeyWrongLastSequenceError):
        return "moved"
    if isinstance(error, js.NotFoundError | js.NoStreamResponseError | js.NoKeysError | errors.NoRespondersError):
        return "lost"
    if isinstance(error, js.APIError) and error.err_code in _NO_ROOM:
        return "full"
    if isinstance(error, js.ServiceUnavailableError):
        return "down"
    if isinstance(error, errors.AuthorizationError) or "ermissions violation" in text or "uthoriz" in text:
        return "refused"
    if isinstance(error, TimeoutError | asyncio.TimeoutError | errors.TimeoutError):
        return "slow"
    if isinstance(error, FileNotFoundError | PermissionError | ssl.SSLCertVerificationError | NotEncrypted):
        return "local"
    return "down"
