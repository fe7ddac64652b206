"""One Postgres transaction with the repositories that work in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from job_service.adapters.postgres_attempts import PostgresAttempts
from job_service.adapters.postgres_audit import PostgresAudit
from job_service.adapters.postgres_dead_letters import PostgresDeadLetters
from job_service.adapters.postgres_idempotency import PostgresIdempotency
from job_service.adapters.postgres_jobs import PostgresJobs
from job_service.adapters.postgres_queue import PostgresQueue
from job_service.adapters.postgres_receipts import KnownKeys, PostgresReceipts
from job_service.adapters.postgres_settlements import PostgresSettlements
from service_kit.database import transaction


@dataclass(frozen=True, slots=True)
class PostgresWork:
    jobs: PostgresJobs
    attempts: PostgresAttempts
    idempotency: PostgresIdempotency
    settlements: PostgresSettlements
    receipts: PostgresReceipts
    dead_letters: PostgresDeadLetters
    audit: PostgresAudit
    queue: PostgresQueue


class PostgresUnitOfWork:
    """Opens one transaction per `async with`; an error rolls it back.

    Args:
        sessions: Where transactions come from.
        lease_seconds: How long a fresh lease lasts.
        on_changed: Called after a commit with the jobs that it gave new lifecycle events.
    """

    def __init__(
        self,
        sessions: async_sessionmaker[AsyncSession],
        lease_seconds: float,
        on_changed: Callable[[Collection[str]], None] = lambda _: None,
    ) -> None:
        self._sessions = sessions
        self._lease_seconds = lease_seconds
        self._on_changed = on_changed
        self._known_keys = KnownKeys()

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[PostgresWork]:
        async with transaction(self._sessions) as session:
            jobs = PostgresJobs(session, self._lease_seconds)
            receipts = PostgresReceipts(session, self._known_keys)
            yield PostgresWork(
                jobs=jobs,
                attempts=PostgresAttempts(session),
                idempotency=PostgresIdempotency(session),
                settlements=PostgresSettlements(session),
                receipts=receipts,
                dead_letters=PostgresDeadLetters(session),
                audit=PostgresAudit(session),
                queue=PostgresQueue(session),
            )
        self._known_keys.add(receipts.seen)
        if jobs.changed:
            self._on_changed(jobs.changed)
