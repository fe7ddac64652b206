"""Clocks for slow clients, which uvicorn lacks: for the head of a request, and for reading."""

from __future__ import annotations

import asyncio
import socket
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES: Final = 32 * 1024
# Of itself the kernel takes several MB for each client that does not read.
SEND_BUFFER_BYTES: Final = 256 * 1024

TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)


def guarded_protocol(header_seconds: float, slow_reader_seconds: float) -> type[HttpToolsProtocol]:
    """Return uvicorn's protocol with these limits.

    Args:
        header_seconds: How long a client may take for the head of a request, and
            may be silent on a new connection.
        slow_reader_seconds: How long it may leave a full buffer unread.
    """

    class GuardedProtocol(HttpToolsProtocol):
        _head_timer: asyncio.TimerHandle | None = None
        _reader_timer: asyncio.TimerHandle | None = None
        _in_head = True
        _head_bytes = 0
        _is_socket = False

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES
            )
            self._start_head_timer()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_head_timer()
            self._stop_reader_timer()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self._in_head:
                self._head_bytes += len(data)
            super().data_received(data)
            if self._is_socket:
                return
            if self._in_head and self._head_bytes > MAX_HEAD_BYTES:
                self.transport.write(TOO_LARGE)
                self.transport.close()
            elif self._in_head and (self.cycle is None or self.cycle.response_complete):
                # Also for bytes that begin no request: empty lines must not keep it open.
                self._start_head_timer()

        def handle_websocket_upgrade(self) -> None:
            # From here on another protocol has the connection; no clock of ours may end it.
            self._is_socket = True
            self._stop_head_timer()
            self._stop_reader_timer()
            super().handle_websocket_upgrade()

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._in_head = True

        def on_headers_complete(self) -> None:
            self._in_head = False
            self._head_bytes = 0
            self._stop_head_timer()
            super().on_headers_complete()

        def on_message_complete(self) -> None:
            super().on_message_complete()
            self._in_head = True

        def pause_writing(self) -> None:
            super().pause_writing()
            self._stop_reader_timer()
            self._reader_timer = self.loop.call_later(slow_reader_seconds, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            self._stop_reader_timer()

        def _start_head_timer(self) -> None:
            if self._head_timer is None:
                self._head_timer = self.loop.call_later(header_seconds, self.transport.close)

        def _stop_head_timer(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None

        def _stop_reader_timer(self) -> None:
            if self._reader_timer is not None:
                self._reader_timer.cancel()
                self._reader_timer = None

    return GuardedProtocol
