"""Make an account with its default project, inside the transaction of who asks for it."""

from __future__ import annotations

from datetime import datetime

from auth_service.domain.project import DEFAULT_PROJECT_NAME, Project
from auth_service.domain.user import User
from auth_service.usecases.ports import UnitOfWork
from service_kit.ids import new_id


async def create_account(work: UnitOfWork, user: User, now: datetime) -> Project:
    """Store a user and their default project; both or neither.

    Raises:
        EmailTaken: Another account has the e-mail address.
        UsernameTaken: Another account has the username.
    """
    await work.users.add(user)
    return await work.projects.add_owned(
        Project(
            project_id=new_id(),
            name=DEFAULT_PROJECT_NAME,
            owner_user_id=user.user_id,
            is_default=True,
            created_at=now,
        )
    )
