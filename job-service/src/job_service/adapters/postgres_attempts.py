"""Attempts in Postgres."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sqlalchemy import func, insert, update
from sqlalchemy.ext.asyncio import AsyncSession

from job_service.adapters.tables import attempts
from job_service.domain.attempt import AttemptEnd
from job_service.domain.job import Job


class PostgresAttempts:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def open(self, job: Job) -> None:
        await self._session.execute(
            insert(attempts).values(job_id=job.id, attempt=job.attempt, admission=job.admission)
        )

    async def note_dispatch(self, job: Job) -> None:
        if job.dispatch is None:
            values: dict[str, Any] = {"released_at": func.now()}
        else:
            values = {
                "target": job.dispatch.target,
                "client_task_id": job.dispatch.client_task_id,
                "dispatched_at": func.now(),
                "released_at": None,
            }
        await self._session.execute(
            update(attempts)
            .where(attempts.c.job_id == job.id, attempts.c.attempt == job.attempt)
            .values(**values)
        )

    async def close(self, end: AttemptEnd) -> None:
        values = asdict(end)
        if end.error is not None:
            values["error"] = end.error.replace("\0", "\ufffd")
        if end.target is None:
            # What was dispatched, though nothing was heard of it, stays noted.
            del values["target"], values["model"]
        await self._session.execute(
            update(attempts)
            .where(attempts.c.job_id == end.job_id, attempts.c.attempt == end.attempt)
            .values(**values, finished_at=func.now())
        )
