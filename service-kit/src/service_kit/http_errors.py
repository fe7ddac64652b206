"""Renders errors as `application/problem+json` (RFC 9457)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from service_kit.errors import ErrorCode, ServiceError
from service_kit.request_context import request_id

log = structlog.get_logger(__name__)

HTTP_STATUS: Final = {
    ErrorCode.INVALID_ARGUMENT: 400,
    ErrorCode.FAILED_PRECONDITION: 409,
    ErrorCode.UNAUTHENTICATED: 401,
    ErrorCode.PERMISSION_DENIED: 403,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.ALREADY_EXISTS: 409,
    ErrorCode.ABORTED: 409,
    ErrorCode.RESOURCE_EXHAUSTED: 429,
    ErrorCode.CANCELLED: 499,
    ErrorCode.UNAVAILABLE: 503,
    ErrorCode.DEADLINE_EXCEEDED: 504,
    ErrorCode.INTERNAL: 500,
}

_ROUTING_REASONS: Final = {
    404: "ROUTE_NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    413: "BODY_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
}
# Names of fields in a complaint may be the client's own invention.
_MAX_FIELD_CHARACTERS: Final = 200
_MAX_COMPLAINTS: Final = 20


def problem(error: ServiceError) -> JSONResponse:
    """Return the response for an error; of an `INTERNAL` one, nothing but that it happened."""
    hidden = error.code is ErrorCode.INTERNAL
    return problem_response(
        HTTP_STATUS[error.code],
        "INTERNAL" if hidden else error.reason,
        "Internal error." if hidden else error.message,
        metadata={} if hidden else error.metadata,
        headers=retry_headers(error),
    )


def problem_response(
    status: int,
    reason: str,
    detail: str,
    *,
    metadata: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    errors: Sequence[Mapping[str, str]] | None = None,
) -> JSONResponse:
    """Return a problem document; `errors` lists the fields at fault, if any."""
    content: dict[str, object] = {
        "type": "about:blank",
        "title": reason,
        "status": status,
        "detail": detail,
        "metadata": dict(metadata or {}),
        "request_id": request_id(),
    }
    if errors is not None:
        content["errors"] = list(errors)
    return JSONResponse(
        status_code=status,
        media_type="application/problem+json",
        headers=dict(headers or {}),
        content=content,
    )


def retry_headers(error: ServiceError) -> dict[str, str]:
    """Return `Retry-After` in whole seconds, where the error says when to retry."""
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(max(0, math.ceil(error.retry_after.total_seconds())))
    if error.code is ErrorCode.UNAUTHENTICATED:
        headers["WWW-Authenticate"] = "Bearer"
    return headers


def complaints(error: RequestValidationError) -> list[dict[str, str]]:
    """Return what is wrong with which field of a request, without the values sent."""
    return [
        {
            "field": ".".join(str(part) for part in item["loc"])[:_MAX_FIELD_CHARACTERS],
            "message": str(item["msg"]),
            "type": str(item["type"]),
        }
        for item in error.errors()[:_MAX_COMPLAINTS]
    ]


def install(app: FastAPI) -> None:
    """Make every error of the app a problem document.

    `ServiceError` by its code, a request that fails validation 422, an unknown
    route 404 or 405, and anything else 500 without a word of it.
    """

    async def render(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ServiceError)
        if error.code is ErrorCode.INTERNAL:
            log.error("http.internal_error", reason=error.reason, exc_info=error)
        return problem(error)

    async def render_invalid(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return problem_response(
            422, "VALIDATION_FAILED", "The request is not valid.", errors=complaints(error)
        )

    async def render_http(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        reason = _ROUTING_REASONS.get(error.status_code, "REQUEST_REFUSED")
        return problem_response(error.status_code, reason, str(error.detail), headers=error.headers)

    async def render_unexpected(request: Request, error: Exception) -> JSONResponse:
        route: Any = request.scope.get("route")
        log.error("http.unexpected_error", route=getattr(route, "path", None), exc_info=error)
        return problem_response(500, "INTERNAL", "Internal error.")

    app.add_exception_handler(ServiceError, render)
    app.add_exception_handler(RequestValidationError, render_invalid)
    app.add_exception_handler(HTTPException, render_http)
    app.add_exception_handler(Exception, render_unexpected)
