"""Jobs in Postgres. Each change is one statement: the compare-and-set and its event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from sqlalchemy import (
    and_,
    bindparam,
    func,
    literal,
    or_,
    select,
    tuple_,
)
from sqlalchemy.ext.asyncio import AsyncSession

from job_service.adapters.claim_statement import CLAIM, LOCKED_BY_OTHERS
from job_service.adapters.documents import decision_to_document
from job_service.adapters.job_rows import (
    STAMPS,
    WHOLE,
    changed_columns,
    changing_columns,
    fixed_columns,
    job_from,
)
from job_service.adapters.job_statements import (
    add_statement,
    change_statement,
    fence_of,
    fence_values,
    renew_statement,
    stamps_of,
)
from job_service.adapters.tables import jobs, settlements
from job_service.domain.execution import Progress
from job_service.domain.job import Job
from job_service.domain.job_state import JobState
from job_service.domain.lifecycle import event_of
from job_service.usecases.job_ports import Depths, JobPosition

_WITHOUT_CONTENT = tuple(column for column in WHOLE if column.name != "content")
_FOR_LISTS = tuple(column for column in _WITHOUT_CONTENT if column.name != "result_text")

# Built once: naming all these columns anew for each query would cost more than the query.
_FIND_ANYWHERE = select(*_WITHOUT_CONTENT).where(jobs.c.job_id == bindparam("job_id"))
_FIND = _FIND_ANYWHERE.where(jobs.c.project_id == bindparam("project_id"))
_LOCK = select(*WHOLE).where(jobs.c.job_id == bindparam("job_id")).with_for_update()
# What somebody held and let go of, by the database's clock.
_HAS_LAPSED = and_(jobs.c.state.in_(["admitting", "running"]), jobs.c.lease_expires_at < func.now())
_LOCK_LAPSED = (
    select(*WHOLE)
    .where(_HAS_LAPSED)
    .order_by(jobs.c.lease_expires_at)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
)
_COUNT_LAPSED = select(func.count()).where(_HAS_LAPSED)


class PostgresJobs:
    """The job repository of one transaction.

    Args:
        session: The transaction.
        lease_seconds: How long a fresh lease lasts.
    """

    def __init__(self, session: AsyncSession, lease_seconds: float) -> None:
        self._session = session
        # Whose story goes on with this transaction.
        self.changed: set[str] = set()
        self._lease = timedelta(seconds=lease_seconds)

    async def add(self, job: Job) -> Job:
        columns = {**fixed_columns(job), **changing_columns(job)}
        event = event_of(None, job)
        values = {
            **columns,
            "lease": self._lease,
            "event_job_id": job.id,
            "event_type": event.type,
            "event_details": event.details,
        }
        added = await self._session.execute(add_statement(tuple(columns)), values)
        return replace(job, **added.mappings().one())

    async def save(self, was: Job, now: Job) -> Job | None:
        changed = changed_columns(was, now)
        event = event_of(was, now)
        values = {
            **changed,
            **fence_values(was),
            "lease": self._lease,
            "delay": timedelta(seconds=now.delay_seconds),
            "event_type": event.type,
            "event_details": event.details,
        }
        statement = change_statement(tuple(changed), stamps_of(was, now), fence_of(was))
        row = (await self._session.execute(statement, values)).mappings().one_or_none()
        if row is None:
            return None
        self.changed.add(was.id)
        return replace(
            now,
            cancel_requested=row["cancel_requested_at"] is not None,
            delay_seconds=0.0,
            **{name: row[name] for name in STAMPS},
        )

    async def find(self, project_id: str, job_id: str) -> Job | None:
        values = {"job_id": job_id, "project_id": project_id}
        row = (await self._session.execute(_FIND, values)).mappings().one_or_none()
        return None if row is None else job_from(row)

    async def find_anywhere(self, job_id: str) -> Job | None:
        found = await self._session.execute(_FIND_ANYWHERE, {"job_id": job_id})
        row = found.mappings().one_or_none()
        return None if row is None else job_from(row)

    async def find_several(self, job_ids: Sequence[str]) -> Sequence[Job]:
        query = select(*_WITHOUT_CONTENT).where(jobs.c.job_id.in_(job_ids))
        return [job_from(row) for row in (await self._session.execute(query)).mappings()]

    async def find_embeddings(self, job_id: str) -> bytes | None:
        query = select(jobs.c.result_embeddings).where(jobs.c.job_id == job_id)
        found: bytes | None = await self._session.scalar(query)
        return found

    async def lock(self, job_id: str) -> Job | None:
        row = (await self._session.execute(_LOCK, {"job_id": job_id})).mappings().one_or_none()
        return None if row is None else job_from(row)

    async def list_page(
        self, project_id: str, state: JobState | None, limit: int, after: JobPosition | None
    ) -> Sequence[Job]:
        query = (
            select(*_FOR_LISTS)
            .where(jobs.c.project_id == project_id)
            .order_by(jobs.c.created_at.desc(), jobs.c.job_id.desc())
            .limit(limit)
        )
        if state is JobState.PENDING:
            query = query.where(jobs.c.state.in_(["pending", "admitting"]))
        elif state is not None:
            query = query.where(jobs.c.state == state.value)
        if after is not None:
            position = tuple_(literal(after.created_at), literal(after.job_id))
            query = query.where(tuple_(jobs.c.created_at, jobs.c.job_id) < position)
        return [job_from(row) for row in (await self._session.execute(query)).mappings()]

    async def claim(self, limit: int, after: str = "") -> Sequence[Job]:
        wanted = {
            "limit": limit,
            "reach": limit + LOCKED_BY_OTHERS,
            "after": after,
            "lease": self._lease,
        }
        found = await self._session.execute(CLAIM, wanted)
        claimed = [job_from(row) for row in found.mappings()]
        self.changed.update(job.id for job in claimed)
        return claimed

    async def renew(self, job: Job, progress: Progress) -> bool | None:
        started = progress.started
        values: dict[str, Any] = {"usage_counted": progress.tokens_counted}
        if started is not None:
            values |= {"executed_target": started.target, "executed_model": started.model}
        if progress.decision is not None:
            values["decision"] = decision_to_document(progress.decision)
        statement = renew_statement(tuple(values), fence_of(job))
        values |= {**fence_values(job), "lease": self._lease}
        return (await self._session.execute(statement, values)).scalar_one_or_none()

    async def lock_lapsed(self, limit: int) -> Sequence[Job]:
        lapsed = await self._session.execute(_LOCK_LAPSED, {"limit": limit})
        return [job_from(row) for row in lapsed.mappings()]

    async def lapsed_count(self) -> int:
        found: int = (await self._session.execute(_COUNT_LAPSED)).scalar_one()
        return found

    async def depths(self) -> Depths:
        unfinished = or_(
            and_(jobs.c.state.in_(["pending", "retrying"]), jobs.c.kind == "queued"),
            jobs.c.state.in_(["admitting", "running"]),
            and_(jobs.c.state == "blocked", jobs.c.kind == "queued"),
        )
        states = await self._session.execute(
            select(jobs.c.state, func.count().label("jobs"))
            .where(unfinished)
            .group_by(jobs.c.state)
        )
        unsent = await self._session.scalar(
            select(func.count()).select_from(settlements).where(settlements.c.sent_at.is_(None))
        )
        dead = await self._session.scalar(
            select(func.count()).where(jobs.c.state == "dead_letter", jobs.c.purged_at.is_(None))
        )
        return Depths({row.state: row.jobs for row in states}, unsent or 0, dead or 0)
