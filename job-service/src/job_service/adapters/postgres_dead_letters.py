"""Dead letters in Postgres: which there are, what is known of them, and their removal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    RowMapping,
    Select,
    and_,
    func,
    literal,
    select,
    tuple_,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession

from job_service.adapters import documents
from job_service.adapters.job_rows import job_from
from job_service.adapters.tables import attempts, jobs, lifecycle_events, settlements
from job_service.domain.dead_letter import (
    AdmissionCharge,
    AttemptRecord,
    DeadLetterFilter,
    Evidence,
)
from job_service.domain.job import Job
from job_service.domain.job_events import LifecycleRecord
from job_service.domain.settlement import SettlementKind
from job_service.domain.specification import JobSpecification
from job_service.usecases.dead_letter_ports import DeadLetterPosition

_FOR_LISTS = tuple(
    column
    for column in jobs.c
    if column.name not in ("content", "result_text", "result_embeddings")
)
_TOTAL = func.count().over().label("total")


class PostgresDeadLetters:
    """The dead letter repository of one transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def list_page(
        self, which: DeadLetterFilter, limit: int, after: DeadLetterPosition | None
    ) -> Sequence[Job]:
        query = (
            select(*_FOR_LISTS)
            .where(_is_one(which))
            .order_by(jobs.c.completed_at.desc(), jobs.c.job_id.desc())
            .limit(limit)
        )
        if after is not None:
            position = tuple_(literal(after.completed_at), literal(after.job_id))
            query = query.where(tuple_(jobs.c.completed_at, jobs.c.job_id) < position)
        return [job_from(row) for row in await self._rows(query)]

    async def oldest(
        self,
        which: DeadLetterFilter,
        limit: int,
        after: DeadLetterPosition | None,
        died_by: datetime | None,
    ) -> Sequence[DeadLetterPosition]:
        query = (
            select(jobs.c.completed_at, jobs.c.job_id)
            .where(_is_one(which))
            .order_by(jobs.c.completed_at, jobs.c.job_id)
            .limit(limit)
        )
        if after is not None:
            position = tuple_(literal(after.completed_at), literal(after.job_id))
            query = query.where(tuple_(jobs.c.completed_at, jobs.c.job_id) > position)
        if died_by is not None:
            query = query.where(jobs.c.completed_at <= died_by)
        return [DeadLetterPosition(**row) for row in await self._rows(query)]

    async def evidence(self, job_id: str, limit: int) -> Evidence:
        tried = await self._rows(
            select(attempts, _TOTAL)
            .where(attempts.c.job_id == job_id)
            .order_by(attempts.c.attempt.desc())
            .limit(limit)
        )
        told = await self._rows(
            select(lifecycle_events, _TOTAL)
            .where(lifecycle_events.c.job_id == job_id)
            .order_by(lifecycle_events.c.seq.desc())
            .limit(limit)
        )
        settled = await self._rows(select(settlements).where(settlements.c.job_id == job_id))
        return Evidence(
            attempts=[_attempt(row) for row in reversed(tried)],
            attempts_total=tried[0]["total"] if tried else 0,
            changes=[_change(row) for row in reversed(told)],
            changes_total=told[0]["total"] if told else 0,
            charges=sorted(map(_charge, settled), key=lambda charge: charge.admission),
        )

    async def purge(self, job_id: str) -> None:
        found = (await self._rows(select(jobs.c.type, jobs.c.model).where(_is(job_id))))[0]
        empty = JobSpecification(found["type"], found["model"], ())
        await self._session.execute(
            update(jobs)
            .where(_is(job_id))
            .values(
                content=documents.content_to_document(empty),
                last_error=None,
                result_text=None,
                result_embeddings=None,
                # It names words of the prompt.
                decision=None,
                purged_at=func.now(),
            )
        )
        await self._session.execute(
            update(attempts).where(attempts.c.job_id == job_id).values(error=None)
        )

    async def _rows(self, query: Select[Any]) -> Sequence[RowMapping]:
        found: Sequence[RowMapping] = (await self._session.execute(query)).mappings().all()
        return found


def _is(job_id: str) -> ColumnElement[bool]:
    return jobs.c.job_id == job_id


def _is_one(which: DeadLetterFilter) -> ColumnElement[bool]:
    wanted = [
        jobs.c.project_id == which.project_id,
        jobs.c.state == "dead_letter",
        jobs.c.purged_at.is_(None),
    ]
    if which.type:
        wanted.append(jobs.c.type == which.type)
    if which.failure_reason:
        wanted.append(jobs.c.failure_reason == which.failure_reason)
    return and_(*wanted)


def _attempt(row: RowMapping) -> AttemptRecord:
    return AttemptRecord(
        attempt=row["attempt"],
        admission=row["admission"],
        target=row["target"] or "",
        model=row["model"] or "",
        client_task_id=row["client_task_id"] or "",
        started_at=row["started_at"],
        dispatched_at=row["dispatched_at"],
        released_at=row["released_at"],
        finished_at=row["finished_at"],
        outcome=row["outcome"] or "",
        error=row["error"] or "",
        tokens_input=row["tokens_input"] or 0,
        tokens_output=row["tokens_output"] or 0,
        usage_source=row["usage_source"] or "",
        provider_cost_nanousd=row["provider_cost_nanousd"],
    )


def _change(row: RowMapping) -> LifecycleRecord:
    return LifecycleRecord(row["seq"], row["type"], row["details"], row["created_at"])


def _charge(row: RowMapping) -> AdmissionCharge:
    outcome = documents.outcome_from(row["outcome"])
    return AdmissionCharge(
        admission=int(row["hold_id"].rpartition(":")[2]),
        job_state=outcome.job_state,
        charge_nanousd=row["amount_nanousd"],
        voided=row["kind"] == SettlementKind.VOID,
        provider_cost_nanousd=outcome.provider_cost_nanousd,
        price_version=outcome.price_version,
        ended_at=row["created_at"],
        booked=row["sent_at"] is not None,
    )
