"""Load what a person sees of their account, inside somebody's transaction."""

from __future__ import annotations

from datetime import datetime

from auth_service.domain.user import Account, User
from auth_service.usecases.ports import UnitOfWork


async def load_account(work: UnitOfWork, user: User, now: datetime) -> Account:
    """Return the user with their default project and the number of their sessions."""
    membership = await work.projects.find_default_membership(user.user_id)
    return Account(
        user=user,
        default_project_id=membership.project.project_id if membership else "",
        active_sessions_count=await work.sessions.count_active(user.user_id, now),
    )
