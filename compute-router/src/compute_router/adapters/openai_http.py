"""HTTP to a provider: one request at a time, with a deadline for each step of its way.

No step waits without an end, no body is read without a bound, no redirect is followed, and no
proxy is taken from the environment. Nobody here logs what is sent or what comes back.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpx
from pydantic import SecretStr

# Shorter than servers keep idle connections: a request into one that closes may have been paid.
_KEEPALIVE_SECONDS: Final = 2.0
# How long the last bytes after the answer are waited for, to use the connection again.
_REST_SECONDS: Final = 0.1
# How long the body of an error is waited for: another target may be waiting for the prompt.
_ERROR_SECONDS: Final = 2.0
# Only these say that there was no connection, and only while nothing but `connection.` was traced.
_UNCONNECTED: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class NotSent(Exception):
    """There was no connection: the provider was given nothing."""


class Broken(Exception):
    """The request was sent, and no whole answer came back; the cause is one code."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class ProviderPatience:
    """How long each step may take."""

    connect_seconds: float = 5.0
    """Name, connection, TLS, and a place among the connections."""
    first_byte_seconds: float = 60.0
    """From sending the request to the first byte of the body."""
    idle_seconds: float = 30.0
    """Between two chunks of the body."""
    total_seconds: float = 600.0

    @property
    def seconds_to_first_byte(self) -> float:
        return self.connect_seconds + self.first_byte_seconds


class Answer:
    """The head of a response, and its body as it comes."""

    def __init__(
        self, response: httpx.Response, idle_seconds: float, first_byte_by: float, end: float
    ) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self._idle_seconds = idle_seconds
        self._first_byte_by = first_byte_by
        self._end = end
        self._body = response.aiter_raw()

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    async def chunks(self, max_bytes: int | None) -> AsyncGenerator[bytes, None]:
        """Give the body piece by piece.

        Raises:
            Broken: It stopped, broke off, came compressed, or is too large.
        """
        if self.headers.get("content-encoding", "identity") != "identity":
            # A small body may grow without end.
            raise Broken("COMPRESSED")
        deadline, cause = self._first_byte_by, "FIRST_BYTE_TIMEOUT"
        received = 0
        while (chunk := await self._next(deadline, cause)) is not None:
            received += len(chunk)
            if max_bytes is not None and received > max_bytes:
                raise Broken("BODY_TOO_LARGE")
            yield chunk
            deadline, cause = self._now() + self._idle_seconds, "IDLE_TIMEOUT"

    async def read(self, max_bytes: int) -> bytearray:
        """Return the whole body.

        Raises:
            Broken: As for `chunks`.
        """
        body = bytearray()
        async with aclosing(self.chunks(max_bytes)) as chunks:
            async for chunk in chunks:
                body += chunk
        return body

    async def beginning(self, max_bytes: int) -> bytearray:
        """Return what comes of the body in a moment, up to that size."""
        body = bytearray()
        try:
            async with asyncio.timeout(_ERROR_SECONDS), aclosing(self.chunks(None)) as chunks:
                async for chunk in chunks:
                    body += chunk[: max_bytes - len(body)]
                    if len(body) == max_bytes:
                        break
        except (TimeoutError, Broken):
            # The status says what there is to say; the body is a help.
            return body
        return body

    async def rest(self, max_bytes: int = 4096) -> None:
        """Read what little may still come, so that the connection can be used again."""
        try:
            async with asyncio.timeout(_REST_SECONDS):
                async for chunk in self._body:
                    max_bytes -= len(chunk)
                    if max_bytes < 0:
                        return
        except (TimeoutError, httpx.HTTPError):
            # The answer is whole without it; the connection is closed.
            return

    async def _next(self, deadline: float, cause: str) -> bytes | None:
        if deadline > self._end:
            deadline, cause = self._end, "TOTAL_TIMEOUT"
        try:
            async with asyncio.timeout_at(deadline):
                return await anext(self._body, None)
        except TimeoutError as error:
            raise Broken(cause) from error
        except httpx.HTTPError as error:
            raise Broken("CUT_OFF") from error

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


class OpenAiHttp:
    """A client of one provider.

    Args:
        url: The base URL, without `/v1`.
        api_key: Sent as a bearer token, if there is one.
        patience: How long each step may take.
        connections: The most connections at once.
    """

    def __init__(
        self, url: str, api_key: SecretStr | None, patience: ProviderPatience, connections: int
    ) -> None:
        headers = {"accept-encoding": "identity", "user-agent": "weir"}
        if api_key is not None:
            headers["authorization"] = f"Bearer {api_key.get_secret_value()}"
        trust = httpx.create_ssl_context(trust_env=False)
        # Besides the well-known authorities, those of this machine.
        trust.load_default_certs()
        self._url = url.rstrip("/")
        self._patience = patience
        self._client = httpx.AsyncClient(
            headers=headers,
            verify=trust,
            trust_env=False,
            follow_redirects=False,
            timeout=None,  # noqa: S113 -- each step below has a deadline of its own
            limits=httpx.Limits(
                max_connections=connections,
                max_keepalive_connections=connections,
                keepalive_expiry=_KEEPALIVE_SECONDS,
            ),
        )

    async def close(self) -> None:
        await self._client.aclose()

    @asynccontextmanager
    async def asked(
        self, method: str, path: str, body: object = None, request_id: str = ""
    ) -> AsyncIterator[Answer]:
        """Give the answer to a request. Leaving the block stops what still runs.

        Raises:
            NotSent: The provider was given nothing.
            Broken: It was given the request, and did not answer in time, or not at all.
        """
        request = self._client.build_request(
            method,
            self._url + path,
            content=None if body is None else json.dumps(body).encode(),
            headers=_headers(body is not None, request_id),
        )
        started = asyncio.get_running_loop().time()
        end = started + self._patience.total_seconds
        response, first_byte_by = await self._head(request, started, end)
        try:
            yield Answer(response, self._patience.idle_seconds, first_byte_by, end)
        finally:
            await response.aclose()

    async def _head(
        self, request: httpx.Request, started: float, end: float
    ) -> tuple[httpx.Response, float]:
        """Send the request; return the head of the response, and when its body must begin."""
        loop = asyncio.get_running_loop()
        sent_at: float | None = None
        try:
            async with asyncio.timeout_at(started + self._patience.connect_seconds) as timeout:

                async def trace(event: str, _: Mapping[str, Any]) -> None:
                    nonlocal sent_at
                    # Up to here nothing but the connection was made. That is the proof. Any
                    # event that we don't know counts as sent.
                    if sent_at is None and not event.startswith("connection."):
                        sent_at = loop.time()
                        timeout.reschedule(min(end, sent_at + self._patience.first_byte_seconds))

                request.extensions["trace"] = trace
                response = await self._client.send(request, stream=True)
        except TimeoutError as error:
            if sent_at is None:
                raise NotSent("it did not let us connect in time") from error
            cause = "TOTAL_TIMEOUT" if loop.time() >= end else "FIRST_BYTE_TIMEOUT"
            raise Broken(cause) from error
        except httpx.HTTPError as error:
            if sent_at is None and isinstance(error, _UNCONNECTED):
                raise NotSent("it can't be reached") from error
            raise Broken("CUT_OFF") from error
        return response, (sent_at or started) + self._patience.first_byte_seconds


def _headers(has_body: bool, request_id: str) -> dict[str, str]:
    headers = {"content-type": "application/json"} if has_body else {}
    if request_id.isascii() and request_id.isprintable() and request_id:
        # By this the provider's support finds the call again.
        headers["x-client-request-id"] = request_id
    return headers
