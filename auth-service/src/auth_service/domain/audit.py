"""What the audit log remembers: who did what to what, and when. Never a secret."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class AuditAction(StrEnum):
    """An event that somebody may have to explain later."""

    USER_REGISTERED = "user.registered"
    ADMIN_BOOTSTRAPPED = "user.admin_bootstrapped"
    LOGIN_SUCCEEDED = "login.succeeded"
    LOGIN_FAILED = "login.failed"
    REFRESH_TOKEN_REUSED = "refresh_token.reused"  # noqa: S105 - the name of an event
    API_KEY_CREATED = "api_key.created"
    PROJECT_CREATED = "project.created"
    PROJECT_DELETED = "project.deleted"
    TEAM_CREATED = "team.created"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of the log.

    Args:
        action: What happened.
        occurred_at: When, by this service's clock.
        user_id: Who did it; `None` for somebody we don't know.
        subject: The id of what it was done to, `""` where that is the user.
    """

    action: AuditAction
    occurred_at: datetime
    user_id: str | None
    subject: str = ""
