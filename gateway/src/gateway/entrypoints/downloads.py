"""Answers that are written as they are read, so that no size is too large."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.entrypoints.disconnection import until_disconnect
from service_kit.errors import ServiceError

log = structlog.get_logger(__name__)

Page = TypeVar("Page")
Read = TypeVar("Read", covariant=True)
Written = TypeVar("Written", contravariant=True)


class Pages(Protocol[Read]):
    """Something that is read page by page."""

    async def next_page(self) -> Read | None:
        """Return the next page, or `None` when there are no more."""
        ...

    def close(self) -> None:
        """Read no further."""
        ...


class Form(Protocol[Written]):
    """How pages are written."""

    def head(self) -> bytes: ...

    def body(self, page: Written) -> bytes: ...

    def tail(self) -> bytes: ...


class Download(Response):
    """Pages in some form. Make it with `begin`, which raises what refuses the first page.

    A failure after that breaks the connection off: the client must not take a part for all of it.
    """

    def __init__(
        self, write: Callable[[Send], Awaitable[None]], close: Callable[[], None], media_type: str
    ) -> None:
        super().__init__(media_type=media_type)
        del self.headers["content-length"]
        self._write = write
        self._close = close

    @classmethod
    async def begin(
        cls, pages: Pages[Page], form: Form[Page], media_type: str, file_name: str
    ) -> Download:
        """Read the first page and return the response.

        Raises:
            ServiceError: The export was refused or failed.
        """
        try:
            first = await pages.next_page()
        except BaseException:
            pages.close()
            raise

        async def write(send: Send) -> None:
            await _send(send, form.head())
            page = first
            while page is not None:
                await _send(send, form.body(page))
                page = await pages.next_page()
            await send({"type": "http.response.body", "body": form.tail(), "more_body": False})

        download = cls(write, pages.close, media_type)
        download.headers["content-disposition"] = f'attachment; filename="{file_name}"'
        download.headers["cache-control"] = "no-store"
        return download

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        try:
            await send(start)
            await until_disconnect(receive, self._written(send))
        finally:
            self._close()

    async def _written(self, send: Send) -> None:
        try:
            await self._write(send)
        except ServiceError as error:
            # The head said 200. Without an end of the body the client knows that it is not whole.
            log.warning("download.broken_off", reason=error.reason)


async def _send(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})
