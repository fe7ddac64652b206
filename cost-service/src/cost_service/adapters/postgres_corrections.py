"""Refunds and surcharges in Postgres: decided under the hold's lock, booked in one statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from cost_service.adapters.limits import ALERT_LEVELS, ALERTED
from cost_service.adapters.postgres_alerts import ALERT_COLUMNS, alerts_in
from cost_service.domain.correction import BookedCorrection, Charge, Correction, JobEntry
from cost_service.domain.settlement import EntryKind

_NAMES: Final = (
    "entry_id",
    "kind",
    "hold_id",
    "job_id",
    "project_id",
    "amount_nanousd",
    "reason",
    "period",
    "price_version",
    "created_at",
)
_COLUMNS: Final = ", ".join(_NAMES)
# Beside those of an alert.
_ADDED: Final = ", ".join(f"added.{name} AS entry_{name}" for name in _NAMES)
_BY_REQUEST: Final = text(f"SELECT {_COLUMNS} FROM ledger WHERE request_id = :request_id")  # noqa: S608
_KNOWS_JOB: Final = text("SELECT EXISTS (SELECT FROM holds WHERE job_id = :job_id)")
_LOCK: Final = text(
    """
    SELECT h.hold_id FROM holds h JOIN ledger l ON l.hold_id = h.hold_id AND l.kind = 'post'
    WHERE h.job_id = :job_id
      AND (CAST(:wanted AS text) = '' OR h.hold_id = :wanted)
    ORDER BY CAST(split_part(h.hold_id, ':', 2) AS bigint) DESC LIMIT 1
    FOR UPDATE OF h
    """
)
# A statement of its own, after the lock: the one that waits for it would not see what was booked
# meanwhile.
_SUMS: Final = text(
    """
    SELECT coalesce(sum(amount_nanousd) FILTER (WHERE kind = 'post'), 0) AS posted,
           coalesce(sum(amount_nanousd) FILTER (WHERE kind = 'surcharge'), 0) AS surcharged,
           coalesce(sum(amount_nanousd) FILTER (WHERE kind = 'refund'), 0) AS refunded
    FROM ledger
    WHERE job_id = (SELECT job_id FROM ledger WHERE hold_id = :hold_id AND kind = 'post')
      AND hold_id = :hold_id
    """
)
# The correction names what its charge does, but for tokens and provider costs, which nobody is to
# count twice. It changes the budgets that the charge changed, whatever month it is by now.
_ADD: Final = text(
    f"""
    WITH entry AS (
        INSERT INTO ledger (request_id, hold_id, kind, amount_nanousd, reason, budget_ids, period,
                            job_id, project_id, job_state, target, model, tokens_input,
                            tokens_output, usage_source, provider_cost_nanousd, price_version,
                            finished_at, job_type, team_id, api_key_id)
        SELECT CAST(:request_id AS text), charge.hold_id, CAST(:kind AS text),
               CAST(:amount AS bigint), CAST(:reason AS text), charge.budget_ids, charge.period,
               charge.job_id, charge.project_id, charge.job_state, charge.target, charge.model,
               0, 0, charge.usage_source, 0, charge.price_version, charge.finished_at,
               charge.job_type, charge.team_id, charge.api_key_id
        FROM ledger charge
        WHERE charge.hold_id = :hold_id AND charge.kind = 'post'
        ON CONFLICT (request_id) DO NOTHING
        RETURNING {_COLUMNS}, budget_ids
    ), locked AS MATERIALIZED (
        SELECT b.budget_id, b.scope_kind, b.scope_id, b.period_kind, b.period
        FROM entry JOIN budgets b ON b.budget_id = ANY (entry.budget_ids)
        ORDER BY b.scope_kind, b.scope_id, b.period
        FOR NO KEY UPDATE OF b
    ), charged AS (
        UPDATE budgets b SET posted_nanousd = b.posted_nanousd + CAST(:change AS bigint)
        FROM locked WHERE b.budget_id = locked.budget_id
        RETURNING b.budget_id, b.cap_nanousd, b.posted_nanousd, CAST(:change AS bigint) AS charged
    ), {ALERTED}, added AS (
        SELECT {_COLUMNS} FROM entry
    )
    SELECT {_ADDED}, {ALERT_COLUMNS}
    FROM added
    LEFT JOIN (alerted JOIN locked b ON b.budget_id = alerted.budget_id) ON true
    ORDER BY alerted.alert_id
    """  # noqa: S608
)
_LIST: Final = text(
    f"""
    SELECT {_COLUMNS} FROM ledger
    WHERE job_id = :job_id AND entry_id > :after
      AND (CAST(:project_id AS text) = '' OR project_id = :project_id)
    ORDER BY entry_id LIMIT :limit
    """  # noqa: S608
)


class PostgresCorrections:
    """The `Corrections` port."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def find_by_request(self, request_id: str) -> JobEntry | None:
        found = await self._session.execute(_BY_REQUEST, {"request_id": request_id})
        return _to_entry(found.one_or_none())

    async def knows_job(self, job_id: str) -> bool:
        found = await self._session.execute(_KNOWS_JOB, {"job_id": job_id})
        return bool(found.scalar_one())

    async def lock_charge(self, job_id: str, admission: int) -> Charge | None:
        wanted = f"{job_id}:{admission}" if admission else ""
        found = await self._session.execute(_LOCK, {"job_id": job_id, "wanted": wanted})
        hold_id = found.scalar_one_or_none()
        if hold_id is None:
            return None
        sums = (await self._session.execute(_SUMS, {"hold_id": hold_id})).one()
        return Charge(hold_id, int(sums.posted), int(sums.surcharged), int(sums.refunded))

    async def add(self, correction: Correction, hold_id: str) -> BookedCorrection | None:
        found = await self._session.execute(
            _ADD,
            {
                "request_id": correction.request_id,
                "hold_id": hold_id,
                "kind": correction.kind.value,
                "amount": correction.amount_nanousd,
                "change": correction.kind.sign * correction.amount_nanousd,
                "reason": correction.reason,
                **ALERT_LEVELS,
            },
        )
        rows = found.mappings().all()
        if not rows:
            return None
        entry = _entry({name: rows[0][f"entry_{name}"] for name in _NAMES})
        return BookedCorrection(entry, alerts_in(rows))

    async def list_entries(
        self, project_id: str, job_id: str, after_entry_id: int, limit: int
    ) -> Sequence[JobEntry]:
        found = await self._session.execute(
            _LIST,
            {"project_id": project_id, "job_id": job_id, "after": after_entry_id, "limit": limit},
        )
        return [entry for row in found if (entry := _to_entry(row)) is not None]


def _to_entry(row: Row[Any] | None) -> JobEntry | None:
    return None if row is None else _entry(dict(row._mapping))


def _entry(values: Mapping[str, Any]) -> JobEntry:
    return JobEntry(**{**values, "kind": EntryKind(values["kind"])})
