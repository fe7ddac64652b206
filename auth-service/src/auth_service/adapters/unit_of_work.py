"""One transaction of Postgres per `async with`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from auth_service.adapters.postgres_api_keys import PostgresApiKeys
from auth_service.adapters.postgres_audit import PostgresAudit
from auth_service.adapters.postgres_denials import PostgresDenials
from auth_service.adapters.postgres_projects import PostgresProjects
from auth_service.adapters.postgres_sessions import PostgresSessions
from auth_service.adapters.postgres_teams import PostgresTeams
from auth_service.adapters.postgres_users import PostgresUsers
from service_kit.database import transaction


@dataclass(frozen=True, slots=True)
class PostgresWork:
    """The repositories of one transaction."""

    users: PostgresUsers
    sessions: PostgresSessions
    projects: PostgresProjects
    teams: PostgresTeams
    api_keys: PostgresApiKeys
    denials: PostgresDenials
    audit: PostgresAudit


class PostgresUnitOfWork:
    """Opens transactions; leaving one with an error rolls it back."""

    def __init__(self, sessions: async_sessionmaker[AsyncSession]) -> None:
        self._sessions = sessions

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[PostgresWork]:
        async with transaction(self._sessions) as session:
            yield PostgresWork(
                users=PostgresUsers(session),
                sessions=PostgresSessions(session),
                projects=PostgresProjects(session),
                teams=PostgresTeams(session),
                api_keys=PostgresApiKeys(session),
                denials=PostgresDenials(session),
                audit=PostgresAudit(session),
            )
