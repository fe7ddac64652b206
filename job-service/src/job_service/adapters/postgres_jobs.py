"""Jobs in Postgres. Each change is one statement: the compare-and-set and its event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    and_,
    func,
    insert,
    literal,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from job_service.adapters.claim_statement import CLAIM, LOCKED_BY_OTHERS
from job_service.adapters.documents import decision_to_document
from job_service.adapters.job_rows import STAMPS, WHOLE, changing_columns, fixed_columns, job_from
from job_service.adapters.tables import jobs, lifecycle_events, settlements
from job_service.domain.execution import Progress
from job_service.domain.job import CLAIMABLE_STATES, FINAL_STATES, Job, JobState
from job_service.domain.lifecycle import event_of
from job_service.usecases.ports import Depths, JobPosition

_WITHOUT_CONTENT = tuple(column for column in WHOLE if column.name != "content")
_FOR_LISTS = tuple(column for column in _WITHOUT_CONTENT if column.name != "result_text")


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
        event = event_of(None, job)
        stored = (
            insert(jobs)
            .values(
                **fixed_columns(job),
                **changing_columns(job),
                lease_expires_at=func.now() + self._lease,
            )
            .returning(*(jobs.c[name] for name in STAMPS))
            .cte("stored")
        )
        told = (
            insert(lifecycle_events)
            .values(job_id=job.id, seq=1, type=event.type, details=event.details)
            .cte("told")
        )
        row = (await self._session.execute(select(stored).add_cte(told))).mappings().one()
        return replace(job, **row)

    async def save(self, was: Job, now: Job) -> Job | None:
        before, after = changing_columns(was), changing_columns(now)
        changed = {name: value for name, value in after.items() if value != before[name]}
        event = event_of(was, now)
        stored = (
            update(jobs)
            .where(_is_still(was))
            .values(**changed, **self._stamps(was, now), event_seq=jobs.c.event_seq + 1)
            .returning(
                jobs.c.job_id,
                jobs.c.event_seq,
                jobs.c.cancel_requested_at,
                *(jobs.c[name] for name in STAMPS),
            )
            .cte("stored")
        )
        told = (
            insert(lifecycle_events)
            .from_select(
                ["job_id", "seq", "type", "details"],
                select(
                    stored.c.job_id,
                    stored.c.event_seq,
                    literal(event.type),
                    literal(event.details, JSONB),
                ),
            )
            .cte("told")
        )
        found = await self._session.execute(select(stored).add_cte(told))
        row = found.mappings().one_or_none()
        if row is None:
            return None
        self.changed.add(was.id)
        return replace(
            now,
            cancel_requested=row["cancel_requested_at"] is not None,
            delay_seconds=0.0,
            **{name: row[name] for name in STAMPS},
        )

    def _stamps(self, was: Job, now: Job) -> dict[str, Any]:
        """Return the times that come with a change, by the database's clock."""
        stamps: dict[str, Any] = {}
        if now.lease_token is None:
            stamps["lease_expires_at"] = None
        elif now.lease_token != was.lease_token:
            stamps["lease_expires_at"] = func.now() + self._lease
        if now.cancel_requested and not was.cancel_requested:
            stamps["cancel_requested_at"] = func.now()
        if now.state is was.state:
            return stamps
        if now.state is JobState.RUNNING:
            stamps["started_at"] = func.coalesce(jobs.c.started_at, func.now())
        if now.state is JobState.BLOCKED:
            stamps["blocked_at"] = func.now()
        if now.state in CLAIMABLE_STATES:
            stamps["available_at"] = func.now() + timedelta(seconds=now.delay_seconds)
        if now.state is JobState.RETRYING:
            stamps["next_retry_at"] = stamps["available_at"]
        if now.state in FINAL_STATES:
            stamps["completed_at"] = func.now()
            stamps["next_retry_at"] = None
        return stamps

    async def find(self, project_id: str, job_id: str) -> Job | None:
        query = select(*_WITHOUT_CONTENT).where(
            jobs.c.job_id == job_id, jobs.c.project_id == project_id
        )
        row = (await self._session.execute(query)).mappings().one_or_none()
        return None if row is None else job_from(row)

    async def find_anywhere(self, job_id: str) -> Job | None:
        query = select(*_WITHOUT_CONTENT).where(jobs.c.job_id == job_id)
        row = (await self._session.execute(query)).mappings().one_or_none()
        return None if row is None else job_from(row)

    async def find_several(self, job_ids: Sequence[str]) -> Sequence[Job]:
        query = select(*_WITHOUT_CONTENT).where(jobs.c.job_id.in_(job_ids))
        return [job_from(row) for row in (await self._session.execute(query)).mappings()]

    async def find_embeddings(self, job_id: str) -> bytes | None:
        query = select(jobs.c.result_embeddings).where(jobs.c.job_id == job_id)
        found: bytes | None = await self._session.scalar(query)
        return found

    async def lock(self, job_id: str) -> Job | None:
        query = select(*WHOLE).where(jobs.c.job_id == job_id).with_for_update()
        row = (await self._session.execute(query)).mappings().one_or_none()
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
        values: dict[str, Any] = {
            "lease_expires_at": func.now() + self._lease,
            "usage_counted": progress.tokens_counted,
        }
        if started is not None:
            values |= {"executed_target": started.target, "executed_model": started.model}
        if progress.decision is not None:
            values["decision"] = decision_to_document(progress.decision)
        renewed = await self._session.execute(
            update(jobs)
            .where(_is_still(job), jobs.c.state == JobState.RUNNING.value)
            .values(**values)
            .returning(jobs.c.cancel_requested_at.is_not(None))
        )
        return renewed.scalar_one_or_none()

    async def lock_lapsed(self, limit: int) -> Sequence[Job]:
        query = (
            select(*WHOLE)
            .where(_has_lapsed())
            .order_by(jobs.c.lease_expires_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        return [job_from(row) for row in (await self._session.execute(query)).mappings()]

    async def lapsed_count(self) -> int:
        found = await self._session.scalar(select(func.count()).where(_has_lapsed()))
        return found or 0

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
        return Depths({row.state: row.jobs for row in states}, unsent or 0)


def _is_still(was: Job) -> ColumnElement[bool]:
    """Match the job only while nobody else has moved it on since it was read."""
    return and_(
        jobs.c.job_id == was.id,
        jobs.c.state == was.state.value,
        jobs.c.admission == was.admission,
        _fence(was),
    )


def _fence(was: Job) -> ColumnElement[bool]:
    """Tell one lease from the next: by its token; while nobody holds one, by the last attempt."""
    if was.lease_token is not None:
        return jobs.c.lease_token == was.lease_token
    return and_(jobs.c.lease_token.is_(None), jobs.c.attempt == was.attempt)


def _has_lapsed() -> ColumnElement[bool]:
    """Match what somebody held and let go of, by the database's clock."""
    return and_(jobs.c.state.in_(["admitting", "running"]), jobs.c.lease_expires_at < func.now())
