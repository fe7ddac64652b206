"""Renders every error: as the OpenAI API does under /v1, else as a problem document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match

from gateway.entrypoints.errors import EdgeError
from service_kit.errors import ErrorCode, ServiceError
from service_kit.http_errors import HTTP_STATUS, complaints, problem_response, retry_headers

log = structlog.get_logger(__name__)

# Where the reason says more than the code.
_STATUS_BY_REASON: Final = {
    "AMBIGUOUS": 502,
    "API_KEY_REFUSED": 401,
    "BUDGET_EXCEEDED": 429,
    "NO_BUDGET": 429,
    "EVENT_CURSOR_INVALID": 400,
    "IDEMPOTENCY_KEY_IN_FLIGHT": 409,
    "IDEMPOTENCY_KEY_REUSED": 422,
    "JOB_NOT_FINISHED": 409,
    "MODEL_NOT_FOUND": 404,
    "MODEL_NOT_SERVED": 404,
    "NO_CAPACITY": 503,
    "OPERATION_NOT_SERVED": 400,
    "PROMPT_TOO_LONG": 400,
    "RECEIPT_NOT_FOUND": 404,
    "TARGET_UNAVAILABLE": 503,
}

# reason -> (type, code, param) of an OpenAI error
_OPENAI_BY_REASON: Final[dict[str, tuple[str, str, str | None]]] = {
    "BUDGET_EXCEEDED": ("insufficient_quota", "insufficient_quota", None),
    "NO_BUDGET": ("insufficient_quota", "insufficient_quota", None),
    "MODEL_NOT_FOUND": ("invalid_request_error", "model_not_found", "model"),
    "MODEL_NOT_SERVED": ("invalid_request_error", "model_not_found", "model"),
    "OPERATION_NOT_SERVED": ("invalid_request_error", "operation_not_served", "model"),
    "PROMPT_TOO_LONG": ("invalid_request_error", "context_length_exceeded", None),
    "RATE_LIMITED": ("rate_limit_error", "rate_limit_exceeded", None),
    "UNAVAILABLE": ("server_error", "service_unavailable", None),
}

_OPENAI_TYPE_BY_STATUS: Final = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
}

_QUOTA_REASONS: Final = frozenset({"BUDGET_EXCEEDED", "NO_BUDGET"})
_DEFAULT_RETRY_SECONDS: Final = "1"
_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")


def is_openai_path(path: str) -> bool:
    """Tell whether clients of the OpenAI API call this path."""
    return path == "/v1" or path.startswith("/v1/")


def http_status(error: ServiceError) -> int:
    """Return the HTTP status of an error."""
    if isinstance(error, EdgeError):
        return error.status
    return _STATUS_BY_REASON.get(error.reason, HTTP_STATUS[error.code])


def error_response(path: str, error: ServiceError) -> JSONResponse:
    """Return the response for an error on a path."""
    if is_openai_path(path):
        return openai_error_response(error)
    hidden = error.code is ErrorCode.INTERNAL
    return problem_response(
        http_status(error),
        "INTERNAL" if hidden else error.reason,
        "Internal error." if hidden else error.message,
        metadata={} if hidden else error.metadata,
        headers=_headers(error),
    )


def openai_error_response(
    error: ServiceError, *, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Return the response for an error under /v1."""
    return JSONResponse(
        openai_error(error),
        status_code=http_status(error),
        headers={**_headers(error), **(headers or {})},
    )


def openai_error(error: ServiceError) -> dict[str, object]:
    """Return the body that the OpenAI API has for an error."""
    if error.code is ErrorCode.INTERNAL and error.reason not in _OPENAI_BY_REASON:
        return _openai_body("Internal error.", "server_error", "internal_error", None)
    if error.code is ErrorCode.UNAUTHENTICATED:
        return _openai_body(error.message, "authentication_error", "invalid_api_key", None)
    status = http_status(error)
    known = _OPENAI_BY_REASON.get(error.reason)
    if known is not None:
        return _openai_body(error.message, *known)
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return _openai_body(
        error.message,
        _OPENAI_TYPE_BY_STATUS.get(status, kind),
        error.reason.lower(),
        error.metadata.get("field"),
    )


def _openai_body(message: str, kind: str, code: str, param: str | None) -> dict[str, object]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _headers(error: ServiceError) -> dict[str, str]:
    headers = retry_headers(error)
    if isinstance(error, EdgeError):
        headers.update(error.headers)
    if error.reason in _QUOTA_REASONS:
        headers["x-should-retry"] = "false"
        headers.pop("Retry-After", None)
    elif http_status(error) == 503:
        headers.setdefault("Retry-After", _DEFAULT_RETRY_SECONDS)
    return headers


def openai_validation_error(error: RequestValidationError) -> JSONResponse:
    """Return the 400 for the first field at fault; the value sent is not repeated."""
    first = error.errors()[0]
    param = _param(first["loc"])
    kind = str(first["type"])
    if kind == "extra_forbidden":
        message, code = f"Unrecognized request argument: {param}.", "unknown_parameter"
    elif kind == "missing":
        missing = param or "body"
        message, code = f"Missing required parameter: {missing}.", "missing_required_parameter"
    else:
        message, code = f"{first['msg']} ({param})" if param else str(first["msg"]), kind
    return JSONResponse(
        _openai_body(message, "invalid_request_error", code, param), status_code=400
    )


def _param(location: Sequence[Any]) -> str | None:
    """Return `messages[0].content` for ("body", "messages", 0, "content")."""
    text = ""
    for part in location[1:]:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else str(part)
    return text[:200] or None


def _allowed_methods(request: Request) -> list[str]:
    """Return what may be done with the path: the framework names the first route's methods only."""
    return [
        method
        for method in _METHODS
        if any(
            route.matches({**request.scope, "method": method})[0] is Match.FULL
            for route in request.app.routes
        )
    ]


def install(app: FastAPI) -> None:
    """Render every error that a route of the app raises."""

    async def render(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ServiceError)
        if error.code is ErrorCode.INTERNAL:
            log.error("http.internal_error", reason=error.reason, exc_info=error)
        return error_response(request.scope["path"], error)

    async def render_invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        if is_openai_path(request.scope["path"]):
            return openai_validation_error(error)
        return problem_response(
            422, "VALIDATION_FAILED", "The request is not valid.", errors=complaints(error)
        )

    async def render_invalid_socket(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, WebSocketRequestValidationError)
        return await render_invalid(request, RequestValidationError(error.errors()))

    async def render_http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        reason = {404: "ROUTE_NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}.get(
            error.status_code, "REQUEST_REFUSED"
        )
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = ", ".join(_allowed_methods(request))
        refused = EdgeError(error.status_code, reason, str(error.detail), headers=headers)
        return error_response(request.scope["path"], refused)

    app.add_exception_handler(ServiceError, render)
    app.add_exception_handler(RequestValidationError, render_invalid)
    app.add_exception_handler(WebSocketRequestValidationError, render_invalid_socket)
    app.add_exception_handler(HTTPException, render_http)
