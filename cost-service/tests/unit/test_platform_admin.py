"""Who administers the platform: by the verified token, and only in person."""

import pytest

from cost_service.usecases.platform_admin import require_platform_admin
from service_kit.errors import PermissionDenied
from service_kit.request_context import Caller


@pytest.mark.parametrize("role", ["admin", "super_admin"])
def test_administrators_may(role):
    """Both tiers of administrators are let through."""
    require_platform_admin(Caller("u1", "person", role, session_id="s1"), "prices:write")


@pytest.mark.parametrize("role", ["", "guest", "user", "premium_user", "developer", "Admin"])
def test_others_may_not(role):
    """No other role is, nor one that only looks like it."""
    with pytest.raises(PermissionDenied) as refused:
        require_platform_admin(Caller("u1", "person", role, session_id="s1"), "prices:write")

    assert refused.value.metadata == {"permission": "prices:write"}


def test_keys_may_not():
    """An API key acts for one project, even that of an administrator with every scope."""
    key = Caller("u1", "api_key", "admin", key_id="k1", scopes=frozenset({"admin"}))

    with pytest.raises(PermissionDenied):
        require_platform_admin(key, "prices:write")
