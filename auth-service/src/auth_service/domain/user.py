"""A person with an account, and the tiers of the platform."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class UserRole(StrEnum):
    """Platform tiers, each holding the rights of those before it."""

    GUEST = "guest"
    USER = "user"
    PREMIUM_USER = "premium_user"
    DEVELOPER = "developer"
    ADMIN = "admin"
    SUPER_ADMIN = "super_admin"


ADMINISTRATORS = frozenset({UserRole.ADMIN, UserRole.SUPER_ADMIN})


@dataclass(frozen=True, slots=True)
class User:
    """An account. `password_hash` is argon2's own text with its parameters."""

    user_id: str
    email: str
    username: str
    full_name: str
    password_hash: str = field(repr=False)
    role: UserRole
    created_at: datetime
    last_login_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """What a person sees of their account.

    `active_sessions_count` counts the sessions that could still be refreshed.
    """

    user: User
    default_project_id: str
    active_sessions_count: int
