"""What can go wrong at the edge itself."""

from __future__ import annotations

from datetime import timedelta

from service_kit.errors import ErrorCode, ServiceError


class EdgeError(ServiceError):
    """A failure that has a meaning in HTTP only.

    Args:
        status: The HTTP status.
        reason: One code for programs.
        message: One sentence for a person.
        headers: Headers that belong to the failure.
    """

    code = ErrorCode.INVALID_ARGUMENT

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        *,
        headers: dict[str, str] | None = None,
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(message, retry_after=retry_after)
        self.status = status
        self.reason = reason
        self.headers = headers or {}


def body_too_large(limit_bytes: int) -> EdgeError:
    return EdgeError(
        413,
        "BODY_TOO_LARGE",
        f"The body is larger than {limit_bytes} bytes.",
        headers={"Connection": "close"},
    )


def body_too_slow() -> EdgeError:
    return EdgeError(
        408, "BODY_TOO_SLOW", "The body did not arrive in time.", headers={"Connection": "close"}
    )


def unsupported_encoding() -> EdgeError:
    return EdgeError(415, "UNSUPPORTED_ENCODING", "Send the body without content encoding.")


def unsupported_media_type() -> EdgeError:
    return EdgeError(415, "UNSUPPORTED_MEDIA_TYPE", "Send the body as application/json.")


def invalid_json(message: str) -> EdgeError:
    return EdgeError(400, "INVALID_JSON", message)


def host_not_allowed() -> EdgeError:
    return EdgeError(400, "HOST_NOT_ALLOWED", "This host name is not served here.")


def rate_limited(retry_seconds: int) -> EdgeError:
    error = EdgeError(
        429,
        "RATE_LIMITED",
        "Too many requests; wait before the next one.",
        retry_after=timedelta(seconds=retry_seconds),
    )
    error.code = ErrorCode.RESOURCE_EXHAUSTED
    return error


def too_many_event_streams(limit: int) -> EdgeError:
    error = EdgeError(
        429,
        "TOO_MANY_EVENT_STREAMS",
        f"At most {limit} event streams of one caller may be open at a time; close some.",
    )
    error.code = ErrorCode.RESOURCE_EXHAUSTED
    return error


def draining() -> EdgeError:
    error = EdgeError(503, "DRAINING", "This gateway is about to stop; come back in a moment.")
    error.code = ErrorCode.UNAVAILABLE
    return error


def events_ended_early() -> EdgeError:
    error = EdgeError(503, "EVENTS_ENDED_EARLY", "The events ended before the job did; resume.")
    error.code = ErrorCode.UNAVAILABLE
    return error


def cursor_invalid() -> EdgeError:
    return EdgeError(400, "EVENT_CURSOR_INVALID", "This is not a cursor of this job's events.")


def credential_in_url(parameter: str) -> EdgeError:
    return EdgeError(
        400,
        "CREDENTIAL_IN_URL",
        f"A credential does not belong into an address ({parameter}), which ends up in logs: "
        "send it as a header, or as the subprotocol weir.bearer.<credential>.",
    )


def origin_not_allowed() -> EdgeError:
    error = EdgeError(403, "ORIGIN_NOT_ALLOWED", "Pages of this origin may not connect.")
    error.code = ErrorCode.PERMISSION_DENIED
    return error


def subprotocol_missing() -> EdgeError:
    return EdgeError(
        400,
        "SUBPROTOCOL_MISSING",
        "Offer the subprotocol weir.v1 beside weir.bearer.<credential>: it is the one chosen.",
    )


def socket_not_found() -> EdgeError:
    error = EdgeError(404, "ROUTE_NOT_FOUND", "There is no socket here.")
    error.code = ErrorCode.NOT_FOUND
    return error
