"""One Postgres transaction with the repositories that work in it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from job_service.adapters.postgres_attempts import PostgresAttempts
from job_service.adapters.postgres_idempotency import PostgresIdempotency
from job_service.adapters.postgres_jobs import PostgresJobs
from job_service.adapters.postgres_settlements import PostgresSettlements
from service_kit.database import transaction


@dataclass(frozen=True, slots=True)
class PostgresWork:
    jobs: PostgresJobs
    attempts: PostgresAttempts
    idempotency: PostgresIdempotency
    settlements: PostgresSettlements


class PostgresUnitOfWork:
    """Opens one transaction per `async with`; an error rolls it back.

    Args:
        sessions: Where transactions come from.
        lease_seconds: How long a fresh lease lasts.
    """

    def __init__(self, sessions: async_sessionmaker[AsyncSession], lease_seconds: float) -> None:
        self._sessions = sessions
        self._lease_seconds = lease_seconds

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[PostgresWork]:
        async with transaction(self._sessions) as session:
            yield PostgresWork(
                jobs=PostgresJobs(session, self._lease_seconds),
                attempts=PostgresAttempts(session),
                idempotency=PostgresIdempotency(session),
                settlements=PostgresSettlements(session),
            )
