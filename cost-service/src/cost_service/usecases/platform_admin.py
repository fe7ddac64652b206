"""Who may change what concerns the whole platform."""

from __future__ import annotations

from typing import Final

from service_kit.errors import PermissionDenied
from service_kit.request_context import Caller

_ROLES: Final = frozenset({"admin", "super_admin"})


def require_platform_admin(caller: Caller) -> None:
    """Let a person through whose account is an administrator's; an API key belongs to a project.

    Raises:
        PermissionDenied: Anybody else.
    """
    if caller.kind != "person" or caller.role not in _ROLES:
        raise PermissionDenied("platform:admin")
