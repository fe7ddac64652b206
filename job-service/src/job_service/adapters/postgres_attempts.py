"""Attempts in Postgres."""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from job_service.domain.attempt import AttemptEnd
from job_service.domain.job import Job

_OPEN: Final = text(
    "INSERT INTO attempts (job_id, attempt, admission) VALUES (:job_id, :attempt, :admission)"
)
_DISPATCHED: Final = text(
    """
    UPDATE attempts SET target = :target, client_task_id = :client_task_id,
                        dispatched_at = now(), released_at = NULL
    WHERE job_id = :job_id AND attempt = :attempt
    """
)
_RELEASED: Final = text(
    "UPDATE attempts SET released_at = now() WHERE job_id = :job_id AND attempt = :attempt"
)
# What was dispatched, though nothing was heard of it, stays noted.
_CLOSE: Final = text(
    """
    UPDATE attempts SET
        target = coalesce(CAST(:target AS text), target),
        model = CASE WHEN CAST(:target AS text) IS NULL THEN model ELSE :model END,
        outcome = :outcome, error = :error, tokens_input = :tokens_input,
        tokens_output = :tokens_output, usage_source = :usage_source,
        provider_cost_nanousd = :provider_cost_nanousd, finished_at = now()
    WHERE job_id = :job_id AND attempt = :attempt
    """
)


class PostgresAttempts:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def open(self, job: Job) -> None:
        await self._session.execute(
            _OPEN, {"job_id": job.id, "attempt": job.attempt, "admission": job.admission}
        )

    async def note_dispatch(self, job: Job) -> None:
        of = {"job_id": job.id, "attempt": job.attempt}
        if job.dispatch is None:
            await self._session.execute(_RELEASED, of)
        else:
            await self._session.execute(
                _DISPATCHED,
                {
                    **of,
                    "target": job.dispatch.target,
                    "client_task_id": job.dispatch.client_task_id,
                },
            )

    async def close(self, end: AttemptEnd) -> None:
        error = None if end.error is None else end.error.replace("\0", "\ufffd")
        await self._session.execute(_CLOSE, {**asdict(end), "error": error})
