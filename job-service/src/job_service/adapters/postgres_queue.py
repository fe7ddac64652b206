"""What waits, in Postgres: counted, and looked at where a budget keeps it from the queue.

All of it is read from two partial indexes, `ix_jobs_queue` and `ix_jobs_unheld`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from sqlalchemy import and_, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from job_service.adapters.job_rows import WHOLE, job_from
from job_service.adapters.tables import jobs
from job_service.domain.job import Job
from job_service.usecases.queue_ports import BlockedLane

_IS_BLOCKED: Final = and_(jobs.c.state == "blocked", jobs.c.kind == "queued")
_LANE_ORDER: Final = "project_id, api_key_id, priority DESC, created_at"

# From one lane to the next, however many jobs each has.
_LANES: Final = text(
    f"""
    WITH RECURSIVE lanes AS (
        (
            SELECT project_id, api_key_id FROM jobs
            WHERE state = 'blocked' AND kind = 'queued'
            ORDER BY {_LANE_ORDER} LIMIT 1
        )
        UNION ALL
        SELECT next.project_id, next.api_key_id FROM lanes CROSS JOIN LATERAL (
            SELECT project_id, api_key_id FROM jobs
            WHERE state = 'blocked' AND kind = 'queued'
              AND (project_id, api_key_id) > (lanes.project_id, lanes.api_key_id)
            ORDER BY {_LANE_ORDER} LIMIT 1
        ) next
    )
    SELECT project_id, api_key_id FROM lanes
    """  # noqa: S608 -- a constant of this module
)

_COUNT: Final = text(
    """
    SELECT (
        SELECT count(*) FROM (
            SELECT FROM jobs
            WHERE state IN ('pending', 'retrying') AND kind = 'queued' AND project_id = :project_id
            LIMIT :at_most
        ) held
    ) + (
        SELECT count(*) FROM (
            SELECT FROM jobs
            WHERE state IN ('admitting', 'blocked') AND kind = 'queued'
              AND project_id = :project_id
            LIMIT :at_most
        ) unheld
    )
    """
)

_LOCK: Final = text("SELECT pg_advisory_xact_lock(hashtextextended('queue ' || :project_id, 0))")


class PostgresQueue:
    """The queue repository of one transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def lock(self, project_id: str) -> None:
        await self._session.execute(_LOCK, {"project_id": project_id})

    async def count(self, project_id: str, at_most: int) -> int:
        wanted = {"project_id": project_id, "at_most": at_most}
        return min(at_most, await self._session.scalar(_COUNT, wanted) or 0)

    async def blocked_lanes(self) -> Sequence[BlockedLane]:
        found = await self._session.execute(_LANES)
        return [BlockedLane(row.project_id, row.api_key_id) for row in found]

    async def first_blocked(self, lane: BlockedLane) -> Job | None:
        query = (
            select(*WHOLE)
            .where(
                _IS_BLOCKED,
                jobs.c.project_id == lane.project_id,
                jobs.c.api_key_id == lane.api_key_id,
            )
            .order_by(jobs.c.priority.desc(), jobs.c.created_at)
            .limit(1)
        )
        row = (await self._session.execute(query)).mappings().one_or_none()
        return None if row is None else job_from(row)

    async def lock_blocked_for(self, seconds: float, limit: int) -> Sequence[Job]:
        # Replicas of before this column left it empty; there a job is blocked when it is made.
        since = func.coalesce(jobs.c.blocked_at, jobs.c.created_at)
        query = (
            select(*WHOLE)
            .where(_IS_BLOCKED, since < func.now() - timedelta(seconds=seconds))
            .order_by(since)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        return [job_from(row) for row in (await self._session.execute(query)).mappings()]
