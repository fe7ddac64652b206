"""A clock for slow readers of sockets, which uvicorn lacks, and limits for what they send."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from gateway.entrypoints.http_protocol import TOO_LARGE

MAX_MESSAGE_BYTES: Final = 64 * 1024
PONG_SECONDS: Final = 20.0


def socket_options(ping_seconds: float, slow_reader_seconds: float) -> dict[str, Any]:
    """Return uvicorn's options for sockets.

    Args:
        ping_seconds: How often to ask whether the client is there.
        slow_reader_seconds: How long a client may leave a full buffer unread.
    """
    return {
        "ws": guarded_socket_protocol(slow_reader_seconds),
        "ws_max_size": MAX_MESSAGE_BYTES,
        # A small frame could unpack to a large message.
        "ws_per_message_deflate": False,
        "ws_ping_interval": ping_seconds,
        "ws_ping_timeout": PONG_SECONDS,
    }


def guarded_socket_protocol(slow_reader_seconds: float) -> type[WebSocketsSansIOProtocol]:
    """Return uvicorn's protocol with this limit."""

    class GuardedSocketProtocol(WebSocketsSansIOProtocol):
        _reader_timer: asyncio.TimerHandle | None = None

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_reader_timer()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if not self.handshake_initiated:
                # The head is here, and its lines are too long or too many for a socket.
                # Of itself the connection would stay open without a word.
                self.transport.write(TOO_LARGE)
                self.transport.close()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._stop_reader_timer()
            self._reader_timer = self.loop.call_later(slow_reader_seconds, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            self._stop_reader_timer()

        def _stop_reader_timer(self) -> None:
            if self._reader_timer is not None:
                self._reader_timer.cancel()
                self._reader_timer = None

    return GuardedSocketProtocol
