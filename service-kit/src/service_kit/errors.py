"""The one kind of error that may cross a service boundary.

A service names its own failures as subclasses in its `domain/errors.py`. The
gRPC server sends `code`, `reason` and `metadata` to the caller; the caller's
client raises them again as `ServiceError`; the gateway renders them as HTTP.
Any other exception is a bug: callers see `INTERNAL` and no detail.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum


class ErrorCode(StrEnum):
    """What the caller can do about it. The names are gRPC's."""

    CANCELLED = "CANCELLED"
    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    NOT_FOUND = "NOT_FOUND"
    ALREADY_EXISTS = "ALREADY_EXISTS"
    FAILED_PRECONDITION = "FAILED_PRECONDITION"
    ABORTED = "ABORTED"
    RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
    UNAVAILABLE = "UNAVAILABLE"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    INTERNAL = "INTERNAL"


class ServiceError(Exception):
    """A failure that a caller is meant to understand.

    Args:
        message: One sentence for a person, safe to show to the client.
        metadata: The values that the sentence mentions, for programs.
        retry_after: How long to wait before the same call may succeed.
    """

    code: ErrorCode = ErrorCode.INTERNAL
    reason: str = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.metadata = dict(metadata or {})
        self.retry_after = retry_after


class Unauthenticated(ServiceError):
    """Nobody is known by this credential. The reason says why, e.g. `TOKEN_EXPIRED`."""

    code = ErrorCode.UNAUTHENTICATED
    reason = "UNAUTHENTICATED"

    def __init__(
        self, reason: str = "UNAUTHENTICATED", message: str = "The credential was not accepted."
    ) -> None:
        super().__init__(message)
        self.reason = reason


class PermissionDenied(ServiceError):
    """The caller is known and may not do this."""

    code = ErrorCode.PERMISSION_DENIED
    reason = "PERMISSION_DENIED"

    def __init__(self, permission: str) -> None:
        super().__init__(
            f"This needs the permission {permission}.", metadata={"permission": permission}
        )


class CallerNotAllowed(ServiceError):
    """A service called an RPC that is not open to it."""

    code = ErrorCode.PERMISSION_DENIED
    reason = "CALLER_NOT_ALLOWED"

    def __init__(self, rpc_service: str) -> None:
        super().__init__(
            f"{rpc_service} is not open to this caller.", metadata={"rpc_service": rpc_service}
        )


class Unavailable(ServiceError):
    """Something that is needed is away for the moment; the same call may succeed later.

    Args:
        what: What is away, in a word: `database`, `redis`, `auth-service`.
        retry_after: When to try again; a second, where nothing better is known.
    """

    code = ErrorCode.UNAVAILABLE
    reason = "UNAVAILABLE"

    def __init__(self, what: str, retry_after: timedelta = timedelta(seconds=1)) -> None:
        super().__init__(
            f"The {what} is not available at the moment.",
            metadata={"what": what},
            retry_after=retry_after,
        )


class DeadlineExceeded(ServiceError):
    """The caller's time ran out before the work was done."""

    code = ErrorCode.DEADLINE_EXCEEDED
    reason = "DEADLINE_EXCEEDED"

    def __init__(self, message: str = "The call took longer than its deadline allows.") -> None:
        super().__init__(message)


class InvalidArgument(ServiceError):
    """A field of the request holds what it may not.

    Args:
        field: The field's name as the caller wrote it.
        message: What is wrong with it, without repeating its value.
    """

    code = ErrorCode.INVALID_ARGUMENT
    reason = "INVALID_ARGUMENT"

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message, metadata={"field": field})
