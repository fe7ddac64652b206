"""One database transaction, as the use cases see it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from cost_service.adapters.postgres_alerts import PostgresAlerts
from cost_service.adapters.postgres_audit import PostgresAudit
from cost_service.adapters.postgres_budgets import PostgresAllowances, PostgresBudgets
from cost_service.adapters.postgres_caps import PostgresAllocations, PostgresCaps
from cost_service.adapters.postgres_comparisons import PostgresComparisons
from cost_service.adapters.postgres_corrections import PostgresCorrections
from cost_service.adapters.postgres_cost_reports import PostgresCostReports
from cost_service.adapters.postgres_exports import PostgresExports
from cost_service.adapters.postgres_holds import PostgresHolds
from cost_service.adapters.postgres_ledger import PostgresLedger
from cost_service.adapters.postgres_price_book import PostgresPriceBook
from cost_service.adapters.postgres_reports import PostgresReports
from cost_service.adapters.postgres_top_ups import PostgresTopUps
from service_kit.database import transaction


@dataclass(frozen=True, slots=True)
class PostgresWork:
    """Everything that can be done in the transaction."""

    holds: PostgresHolds
    ledger: PostgresLedger
    allowances: PostgresAllowances
    allocations: PostgresAllocations
    caps: PostgresCaps
    budgets: PostgresBudgets
    top_ups: PostgresTopUps
    alerts: PostgresAlerts
    reports: PostgresReports
    corrections: PostgresCorrections
    cost_reports: PostgresCostReports
    comparisons: PostgresComparisons
    exports: PostgresExports
    prices: PostgresPriceBook
    audit: PostgresAudit
    session: AsyncSession

    async def see_one_moment(self) -> None:
        await self.session.execute(
            text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        )
        # A period's entries are sorted and joined in memory rather than on disk.
        await self.session.execute(text("SET LOCAL work_mem = '32MB'"))


class PostgresUnitOfWork:
    """Opens one transaction per `async with`; an error rolls it back."""

    def __init__(self, sessions: async_sessionmaker[AsyncSession]) -> None:
        self._sessions = sessions

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[PostgresWork]:
        async with transaction(self._sessions) as session:
            yield PostgresWork(
                holds=PostgresHolds(session),
                ledger=PostgresLedger(session),
                allowances=PostgresAllowances(session),
                allocations=PostgresAllocations(session),
                caps=PostgresCaps(session),
                budgets=PostgresBudgets(session),
                top_ups=PostgresTopUps(session),
                alerts=PostgresAlerts(session),
                reports=PostgresReports(session),
                corrections=PostgresCorrections(session),
                cost_reports=PostgresCostReports(session),
                comparisons=PostgresComparisons(session),
                exports=PostgresExports(session),
                prices=PostgresPriceBook(session),
                audit=PostgresAudit(session),
                session=session,
            )
