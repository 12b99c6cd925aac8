"""The client of NATS, with what it lacks: nats-py 2.16 trusts a header and a server's word further than it may."""

from __future__ import annotations

from typing import Any

from nats import errors
from nats.aio.client import Client


class NotEncrypted(errors.Error):
    """Whoever answers at an address `tls://` would be talked to in the clear."""

    def __str__(self) -> str:
        return "the server does not encrypt: expected TLS, as VMAFX_FLEET_URL says by tls://"


class FleetClient(Client):
    """Talks to a server `tls://` by TLS or not at all, and reads on behind a header that is none.

    The client asks for TLS only where the server says that it wants it, so anybody on the way could have it talk in
    the clear. And it stops reading at a header of a few bytes, which any sender can send and the server stores: a
    reader of the stream would come to it again and again, and never further.
    """

    async def connect(self, *given: Any, **options: Any) -> None:
        """Connect as the client does; what was dialled in vain does not stay open."""
        try:
            await super().connect(*given, **options)
        except BaseException:
            if self._transport is not None:
                self._transport.close()  # type: ignore[no-untyped-call]
            raise

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        wants_tls = self._current_server is not None and self._current_server.uri.scheme == "tls"
        if initial_connection and wants_tls and not info.get("tls_required"):
            raise NotEncrypted
        await super()._process_info(info, initial_connection)

    async def _process_headers(self, headers: bytes | None) -> dict[str, str] | None:
        try:
            found: dict[str, str] | None = await super()._process_headers(headers)
        except (IndexError, ValueError):
            return None
        return found
