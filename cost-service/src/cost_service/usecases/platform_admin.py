"""Who may change what concerns every tenant."""

from __future__ import annotations

from typing import Final

from service_kit.errors import PermissionDenied
from service_kit.request_context import Caller

ADMIN_ROLES: Final = frozenset({"admin", "super_admin"})


def is_platform_admin(caller: Caller) -> bool:
    """Tell whether the caller's verified token says that they administer the platform.

    An API key belongs to one project, so it never does, whoever made it.
    """
    return caller.kind == "person" and caller.role in ADMIN_ROLES


def require_platform_admin(caller: Caller, permission: str) -> None:
    """Let through people who administer the platform.

    Raises:
        PermissionDenied: The caller is somebody else.
    """
    if not is_platform_admin(caller):
        raise PermissionDenied(permission)
