"""A migrated database and the use cases over it."""

from __future__ import annotations

import asyncpg
import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from cost_service.adapters.audit_readers import PostgresCostBooks
from cost_service.adapters.cost_metrics import CostMetrics
from cost_service.adapters.tables import APPEND_ONLY, MUTABLE
from cost_service.adapters.unit_of_work import PostgresUnitOfWork
from cost_service.domain.books import JobBooks
from cost_service.domain.budget_scope import BudgetScope, BudgetScopeKind
from cost_service.domain.correction import Correction
from cost_service.domain.hold import HoldRequest
from cost_service.domain.ledger_check import check
from cost_service.domain.settlement import EntryKind, Outcome, Settlement
from cost_service.usecases.correct_charge import CorrectCharge
from cost_service.usecases.open_budgets import OpenBudgets
from cost_service.usecases.place_hold import PlaceHold
from cost_service.usecases.set_budget import SetBudget
from cost_service.usecases.settle_hold import SettleHold
from service_kit.access import AccessChecks, ProjectAccess
from service_kit.clock import SystemClock
from service_kit.database import open_engine, sessions
from service_kit.request_context import Caller

DEFAULT_CAP = 1_000
DEFAULT_ALLOWANCE = 10_000
OWNER = Caller("owner-1", "person", "user", session_id="s1")
ADMIN = Caller("admin-1", "person", "admin", session_id="s2")


class Everything:
    """Knows every project as the owner's."""

    def __init__(self, owner_user_id: str = "owner-1") -> None:
        self.owner_user_id = owner_user_id

    async def project_access(self, user_id, project_id, scopes):
        words = frozenset({"costs:read", "budgets:write"})
        return ProjectAccess(project_id or "default", self.owner_user_id, False, words)


class Money:
    """The use cases of the ledger, and the database below them as the service's role sees it."""

    def __init__(self, engine, connection) -> None:
        self.registry = CollectorRegistry()
        self.engine = engine
        self.connection = connection
        self.work = PostgresUnitOfWork(sessions(engine))
        self.meter = CostMetrics(self.registry)
        self.open_budgets = OpenBudgets(self.work, DEFAULT_ALLOWANCE, DEFAULT_CAP)
        self._place = PlaceHold(self.work, self.open_budgets, self.meter)
        self._settle = SettleHold(self.work, self.meter)
        self._correct = CorrectCharge(self.work, self.meter)
        self.access = AccessChecks(Everything(), SystemClock())
        self._set_budget = SetBudget(self.access, self.work, DEFAULT_ALLOWANCE)

    async def hold(self, hold_id="j1:1", amount=100, scopes=None):
        scopes = scopes or (project(),)
        return await self._place(HoldRequest(hold_id, tuple(scopes), amount, "1"))

    async def post(self, hold_id="j1:1", amount=60, scopes=None, **outcome):
        return await self._end(EntryKind.POST, hold_id, amount, scopes, outcome)

    async def void(self, hold_id="j1:1", scopes=None, **outcome):
        return await self._end(EntryKind.VOID, hold_id, 0, scopes, outcome)

    async def _end(self, kind, hold_id, amount, scopes, outcome):
        about = {"job_id": hold_id.partition(":")[0], "project_id": "p1", "job_state": "completed"}
        scopes = (project(),) if scopes is None else tuple(scopes)
        return await self._settle(
            Settlement(hold_id, kind, amount, scopes, Outcome(**{**about, **outcome}))
        )

    async def set_budget(self, cap, project_id="p1"):
        return await self._set_budget(OWNER, project_id, cap)

    async def correct(self, kind, amount, request_id, job_id="j1", admission=0, reason="sorry"):
        return await self._correct(
            ADMIN, Correction(request_id, kind, job_id, admission, amount, reason)
        )

    async def refund(self, amount, request_id, job_id="j1", **more):
        return await self.correct(EntryKind.REFUND, amount, request_id, job_id, **more)

    async def surcharge(self, amount, request_id, job_id="j1", **more):
        return await self.correct(EntryKind.SURCHARGE, amount, request_id, job_id, **more)

    async def row(self, query, *values):
        return await self.connection.fetchrow(query, *values)

    async def value(self, query, *values):
        return await self.connection.fetchval(query, *values)

    async def budget(self, scope_id="p1"):
        """Return (cap, reserved, posted) of the scope's only month."""
        row = await self.row(
            "SELECT cap_nanousd, reserved_nanousd, posted_nanousd FROM budgets WHERE scope_id = $1",
            scope_id,
        )
        return tuple(row) if row else None

    def metric(self, name, **labels):
        return self.registry.get_sample_value(name, labels)


def project(project_id="p1", *, default=True):
    return BudgetScope(BudgetScopeKind.PROJECT, project_id, "owner-1", default)


@pytest.fixture(scope="session")
def kept_database(migrated_database):
    return migrated_database("cost_service")


@pytest.fixture
async def database(migrated_database, kept_database):
    """The address, for the service's role, of a database that holds prices and nothing else."""
    await empty(migrated_database.superuser_url(kept_database))
    return kept_database


async def empty(superuser_url):
    """Empty the tables, the append-only ones too, but for the shipped prices: a superuser can."""
    tables = ", ".join([*MUTABLE, *APPEND_ONLY])
    connection = await asyncpg.connect(superuser_url)
    try:
        await connection.execute(
            f"SET session_replication_role = replica; TRUNCATE {tables} RESTART IDENTITY;"
            "DELETE FROM prices WHERE price_version <> '1';"
            "DELETE FROM price_versions WHERE price_version <> '1'"
        )
    finally:
        await connection.close()


async def check_books(database):
    """Assert that holds, ledger, budgets and allowances agree; jobs are not looked at."""
    books = await PostgresCostBooks(SecretStr(database)).read()
    drifts = check([], books, JobBooks(), max_age_seconds=60).drifts
    ours = [one for one in drifts if one.rule not in ("booked_was_sent", "open_hold_has_job")]
    assert ours == []
    return books


@pytest.fixture
async def connection(database):
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()


@pytest.fixture
async def money(database, connection):
    engine = open_engine(database, application_name="test", pool_size=20, pool_timeout=30)
    yield Money(engine, connection)
    await engine.dispose()
