"""Who is calling, under which request id, and until when: for the length of one request.

The gRPC server and the HTTP edge fill this in; anything below may read it. A
task made inside a request inherits what is here, the deadline too: work that
outlives its request belongs in a loop of the service.
"""

from __future__ import annotations

import re
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal

import structlog

from service_kit.errors import Unauthenticated
from service_kit.ids import new_id

# Taken off a deadline that came from outside, so that there is time to say what went wrong.
REPLY_SECONDS = 0.05

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True)
class Caller:
    """The person or program behind the request, as its verified token says.

    `expires_at` is when that token ends, in epoch seconds; 0 where nobody said so.
    """

    user_id: str
    kind: Literal["person", "api_key"]
    role: str
    session_id: str | None = None
    key_id: str | None = None
    project_id: str | None = None
    scopes: frozenset[str] = frozenset()
    token: str = field(default="", repr=False, compare=False)
    expires_at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Peer:
    """The service at the other end of the connection, as its certificate says.

    `instance` tells replicas apart where certificates do (a worker's id), else it is "".
    """

    service: str
    instance: str = ""


current_caller: ContextVar[Caller | None] = ContextVar("current_caller", default=None)
current_peer: ContextVar[Peer | None] = ContextVar("current_peer", default=None)
current_request_id: ContextVar[str] = ContextVar("current_request_id", default="")
_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


def caller() -> Caller:
    """Return who is calling.

    Raises:
        Unauthenticated: The request came without a token.
    """
    found = current_caller.get()
    if found is None:
        raise Unauthenticated("TOKEN_MISSING", "This needs a token.")
    return found


def find_caller() -> Caller | None:
    """Return who is calling, or `None` for a request that needs no token."""
    return current_caller.get()


def peer() -> Peer:
    """Return the service that made this call. Only inside a gRPC handler."""
    found = current_peer.get()
    if found is None:
        raise LookupError("no gRPC peer: this is not a gRPC call")
    return found


def request_id() -> str:
    """Return the id that follows the request through every service, or "" outside one."""
    return current_request_id.get()


def begin_request(offered_id: str | None = None, *, seconds: float | None = None) -> str:
    """Start a request in the current task and return its id.

    Args:
        offered_id: The id that the caller sent. A new one is made unless it is
            1 to 64 characters of `A-Z a-z 0-9 . _ -`.
        seconds: How long the caller will wait, if it said so.
    """
    accepted = offered_id if offered_id and _REQUEST_ID.fullmatch(offered_id) else new_id()
    current_request_id.set(accepted)
    current_caller.set(None)
    current_peer.set(None)
    _deadline.set(None if seconds is None else time.monotonic() + seconds - REPLY_SECONDS)
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=accepted)
    return accepted


def remaining_seconds() -> float | None:
    """Return how long the work may still take, or `None` if the caller set no deadline.

    It is shorter by `REPLY_SECONDS` than what the caller waits, and never negative.
    """
    deadline = _deadline.get()
    return None if deadline is None else max(0.0, deadline - time.monotonic())
