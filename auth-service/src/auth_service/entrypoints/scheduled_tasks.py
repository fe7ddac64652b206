"""What this service does by itself, and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import time, timedelta
from typing import Final

from auth_service.usecases.archive_audit_entries import ArchiveAuditEntries
from auth_service.usecases.expire_denials import ExpireDenials
from auth_service.usecases.expire_sessions import ExpireSessions
from auth_service.usecases.recount_sessions import RecountSessions
from service_kit.schedule import DailyAt, Every, ScheduledTask

# A first night may have years of entries to move; what it can't, the next one does.
_ARCHIVE_SECONDS: Final = 600.0
# They are kept for a day as it is.
_EXPIRE_DENIALS_EVERY: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class ScheduledUseCases:
    """What the tasks call."""

    expire_sessions: ExpireSessions
    expire_denials: ExpireDenials
    recount_sessions: RecountSessions
    archive_audit_entries: ArchiveAuditEntries


def scheduled_tasks(
    use_cases: ScheduledUseCases,
    *,
    expire_sessions_every: timedelta,
    recount_sessions_every: timedelta,
    archive_logs_at: time,
) -> Sequence[ScheduledTask]:
    """Return the tasks of every replica."""
    return (
        ScheduledTask("expire_sessions", Every(expire_sessions_every), use_cases.expire_sessions),
        ScheduledTask("expire_denials", Every(_EXPIRE_DENIALS_EVERY), use_cases.expire_denials),
        ScheduledTask(
            "recount_sessions", Every(recount_sessions_every), use_cases.recount_sessions
        ),
        ScheduledTask(
            "archive_logs",
            DailyAt(archive_logs_at),
            use_cases.archive_audit_entries,
            timeout_seconds=_ARCHIVE_SECONDS,
        ),
    )
