"""Who may change what concerns every tenant."""

from __future__ import annotations

from typing import Final

from service_kit.errors import PermissionDenied
from service_kit.request_context import Caller

ADMIN_ROLES: Final = frozenset({"admin", "super_admin"})


def require_platform_admin(caller: Caller, permission: str) -> None:
    """Let through people whose verified token says that they administer the platform.

    An API key belongs to one project, so it never does, whoever made it.

    Raises:
        PermissionDenied: The caller is somebody else.
    """
    if caller.kind != "person" or caller.role not in ADMIN_ROLES:
        raise PermissionDenied(permission)
