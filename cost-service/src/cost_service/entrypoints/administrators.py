"""Who administers the platform."""

from __future__ import annotations

from typing import Final

from service_kit.errors import PermissionDenied
from service_kit.request_context import Caller

_ROLES: Final = frozenset({"admin", "super_admin"})


def require_administrator(caller: Caller) -> None:
    """Return if the caller is an administrator, in person: an API key is for one project only.

    Raises:
        PermissionDenied: Anybody else.
    """
    if caller.kind != "person" or caller.role not in _ROLES:
        raise PermissionDenied("platform:admin")
