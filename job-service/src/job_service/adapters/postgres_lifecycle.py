"""Lifecycle events, read outside of any transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    RowMapping,
    Select,
    Text,
    func,
    lateral,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import array
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from job_service.adapters.tables import lifecycle_events as events
from job_service.domain.job_events import LifecycleRecord
from job_service.domain.job_state import JobState
from service_kit.database import database_errors

others = events.alias("others")
changes_state = others.c.type.in_([state.value for state in JobState])


class PostgresLifecycle:
    """The port `LifecycleLog`.

    Args:
        sessions: Where statements run, each a transaction of its own.
    """

    def __init__(self, sessions: async_sessionmaker[AsyncSession]) -> None:
        self._sessions = sessions

    async def latest(
        self, seen: Mapping[str, int], limit: int
    ) -> Mapping[str, Sequence[LifecycleRecord]]:
        if not seen:
            return {}
        known = (
            func.unnest(array(seen.keys(), type_=Text), array(seen.values(), type_=BigInteger))
            .table_valued("job_id", "seq")
            .render_derived(name="known")
        )
        newest = lateral(
            select(events)
            .where(events.c.job_id == known.c.job_id, events.c.seq > known.c.seq)
            .order_by(events.c.seq.desc())
            .limit(limit)
        )
        query = (
            select(newest)
            .select_from(known.join(newest, true()))
            .order_by(newest.c.job_id, newest.c.seq)
        )
        found: dict[str, list[LifecycleRecord]] = {}
        for row in await self._rows(query):
            found.setdefault(row["job_id"], []).append(_record(row))
        return found

    async def page(self, job_id: str, after: int, limit: int) -> Sequence[LifecycleRecord]:
        query = (
            select(events)
            .where(events.c.job_id == job_id, events.c.seq > after)
            .order_by(events.c.seq)
            .limit(limit)
        )
        return [_record(row) for row in await self._rows(query)]

    async def around(self, job_id: str, seq: int) -> Sequence[LifecycleRecord]:
        query = (
            select(events)
            .where(
                events.c.job_id == job_id,
                or_(
                    events.c.seq == seq,
                    events.c.seq.in_(_last(job_id).where(others.c.seq <= seq, changes_state)),
                    events.c.seq.in_(_last(job_id)),
                ),
            )
            .order_by(events.c.seq)
        )
        return [_record(row) for row in await self._rows(query)]

    async def _rows(self, query: Any) -> Sequence[RowMapping]:
        with database_errors():
            async with self._sessions() as session:
                return (await session.execute(query)).mappings().all()


def _last(job_id: str) -> Select[Any]:
    """Return a query of the highest `seq` among a job's `others`."""
    return select(func.max(others.c.seq)).where(others.c.job_id == job_id)


def _record(row: RowMapping) -> LifecycleRecord:
    return LifecycleRecord(row["seq"], row["type"], row["details"], row["created_at"])
