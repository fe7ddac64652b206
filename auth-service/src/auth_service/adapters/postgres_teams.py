"""Teams and their members in Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.adapters.tables import team_members, teams
from auth_service.domain.permissions import TeamRole
from auth_service.domain.team import Team, TeamMembership
from service_kit.ids import is_uuid

_MEMBERSHIPS = select(teams, team_members.c.user_id, team_members.c.role).join(
    team_members, team_members.c.team_id == teams.c.team_id
)


class PostgresTeams:
    """See `ports.Teams`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add_owned(self, team: Team) -> Team:
        # The update changes nothing, but waits for and finds the first team in the same step.
        statement = (
            insert(teams)
            .values({column.name: getattr(team, column.name) for column in teams.columns})
            .on_conflict_do_update(
                index_elements=["owner_user_id", "request_id"],
                set_={"request_id": team.request_id},
            )
            .returning(teams)
        )
        stored = _team((await self._session.execute(statement)).one())
        if stored.team_id == team.team_id:
            await self._session.execute(
                insert(team_members).values(
                    team_id=team.team_id,
                    user_id=team.owner_user_id,
                    role=TeamRole.OWNER,
                    created_at=team.created_at,
                )
            )
        return stored

    async def find_membership(self, user_id: str, team_id: str) -> TeamMembership | None:
        if not (is_uuid(user_id) and is_uuid(team_id)):
            return None
        query = _MEMBERSHIPS.where(team_members.c.user_id == user_id, teams.c.team_id == team_id)
        row = (await self._session.execute(query)).one_or_none()
        return None if row is None else _membership(row)

    async def list_of_member(
        self, user_id: str, *, after: tuple[datetime, str] | None, limit: int
    ) -> Sequence[TeamMembership]:
        query = (
            _MEMBERSHIPS.where(team_members.c.user_id == user_id)
            .order_by(teams.c.created_at, teams.c.team_id)
            .limit(limit)
        )
        if after is not None:
            query = query.where(tuple_(teams.c.created_at, teams.c.team_id) > after)
        return [_membership(row) for row in await self._session.execute(query)]


def _membership(row: Row[Any]) -> TeamMembership:
    return TeamMembership(_team(row), row.user_id, TeamRole(row.role))


def _team(row: Row[Any]) -> Team:
    return Team(**{column.name: row._mapping[column] for column in teams.columns})
