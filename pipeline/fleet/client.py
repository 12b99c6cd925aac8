"""The client of NATS, with what it lacks: nats-py 2.16 trusts a header and a server's word further than it may."""

from __future__ import annotations

from typing import Any

from nats import errors
from nats.aio.client import Client
from nats.aio.msg import Msg


class NotEncrypted(errors.Error):
    """Whoever answers at an address `tls://` would be talked to in the clear."""

    def __str__(self) -> str:
        return "the server does not encrypt: expected TLS, as VMAFX_FLEET_URL says by tls://"


class FleetClient(Client):
    """Talks to a server `tls://` by TLS or not at all, and reads on behind a header or a subject that is none.

    The client asks for TLS only where the server says that it wants it, so anybody on the way could have it talk in
    the clear. And it stops reading at a header of a few bytes, or a subject that is no text, which any sender can send
    and the server stores: a reader of the stream would come to it again and again, and never further.
    """

    async def connect(self, *given: Any, **options: Any) -> None:
        """Connect as the client does; what was dialled in vain does not stay open."""
        try:
            await super().connect(*given, **options)
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Close the socket without waiting for the other side, whose answer the end of TLS wants."""
        socket = getattr(self._transport, "_bare_io_writer", None)
        if socket is not None:
            socket.transport.abort()

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

    def _build_message(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: dict[str, str] | None
    ) -> Msg | None:
        built: Msg | None = super()._build_message(sid, subject.decode(errors="replace").encode(), reply, data, headers)
        return built
