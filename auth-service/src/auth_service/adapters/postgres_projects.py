"""Projects and their members in Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.adapters.tables import members, projects
from auth_service.domain.permissions import ProjectRole
from auth_service.domain.project import Membership, Project
from service_kit.ids import is_uuid

_ALIVE = projects.c.archived_at.is_(None)


class PostgresProjects:
    """See `ports.Projects`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add_owned(self, project: Project) -> Project:
        # The update changes nothing, but finds the first project in the same step: read
        # afterwards, it might have been archived and its request id be free again.
        statement = (
            insert(projects)
            .values(_values(project))
            .on_conflict_do_update(
                index_elements=["owner_user_id", "request_id"],
                set_={"request_id": project.request_id},
            )
            .returning(projects)
        )
        stored = _project((await self._session.execute(statement)).one())
        if stored.project_id != project.project_id:
            return stored
        await self._session.execute(
            insert(members).values(
                project_id=project.project_id,
                user_id=project.owner_user_id,
                role=ProjectRole.OWNER,
            )
        )
        return project

    async def find_membership(self, user_id: str, project_id: str) -> Membership | None:
        if not is_uuid(project_id):
            return None
        return await self._membership(user_id, projects.c.project_id == project_id)

    async def find_default_membership(self, user_id: str) -> Membership | None:
        return await self._membership(
            user_id, (projects.c.owner_user_id == user_id) & projects.c.is_default
        )

    async def _membership(self, user_id: str, condition: Any) -> Membership | None:
        if not is_uuid(user_id):
            return None
        query = (
            select(projects, members.c.role)
            .join(members, members.c.project_id == projects.c.project_id)
            .where(members.c.user_id == user_id, _ALIVE, condition)
        )
        row = (await self._session.execute(query)).one_or_none()
        return None if row is None else Membership(_project(row), user_id, ProjectRole(row.role))

    async def find_for_update(self, project_id: str) -> Project | None:
        if not is_uuid(project_id):
            return None
        query = (
            select(projects).where(projects.c.project_id == project_id, _ALIVE).with_for_update()
        )
        row = (await self._session.execute(query)).one_or_none()
        return None if row is None else _project(row)

    async def save(self, project: Project) -> None:
        await self._session.execute(
            update(projects)
            .where(projects.c.project_id == project.project_id)
            .values(_values(project))
        )

    async def list_of_member(
        self, user_id: str, *, after: tuple[datetime, str] | None, limit: int
    ) -> Sequence[Project]:
        place = tuple_(projects.c.created_at, projects.c.project_id)
        query = (
            select(projects)
            .join(members, members.c.project_id == projects.c.project_id)
            .where(members.c.user_id == user_id, _ALIVE)
            .order_by(projects.c.created_at, projects.c.project_id)
            .limit(limit)
        )
        if after is not None:
            query = query.where(place > after)
        return [_project(row) for row in await self._session.execute(query)]

    async def list_member_ids(self, project_id: str) -> Sequence[str]:
        query = select(members.c.user_id).where(members.c.project_id == project_id)
        return (await self._session.scalars(query)).all()


def _values(project: Project) -> dict[str, Any]:
    return {column.name: getattr(project, column.name) for column in projects.columns}


def _project(row: Row[Any]) -> Project:
    return Project(**{column.name: row._mapping[column] for column in projects.columns})
