"""A migrated database and the use cases over it."""

from __future__ import annotations

import os

import asyncpg
import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from sqlalchemy import event

from cost_service.adapters.audit_readers import PostgresCostBooks
from cost_service.adapters.cost_metrics import CostMetrics
from cost_service.adapters.tables import APPEND_ONLY, MUTABLE
from cost_service.adapters.unit_of_work import PostgresUnitOfWork
from cost_service.domain.books import JobBooks
from cost_service.domain.budget import BudgetDefaults
from cost_service.domain.budget_scope import BudgetScope, BudgetScopeKind
from cost_service.domain.correction import Correction
from cost_service.domain.hold import HoldRequest
from cost_service.domain.ledger_check import check
from cost_service.domain.period import PeriodKind
from cost_service.domain.settlement import EntryKind, Outcome, Settlement
from cost_service.usecases.access_ports import ApiKeyAccess, TeamAccess
from cost_service.usecases.budget_owner import BudgetOwner, OwnerChecks
from cost_service.usecases.clear_budget import ClearBudget
from cost_service.usecases.correct_charge import CorrectCharge
from cost_service.usecases.get_budget import GetBudget
from cost_service.usecases.list_budget_alerts import ListBudgetAlerts
from cost_service.usecases.lock_cap import lock_cap
from cost_service.usecases.open_budgets import OpenBudgets
from cost_service.usecases.place_hold import PlaceHold
from cost_service.usecases.set_budget import SetBudget
from cost_service.usecases.settle_hold import SettleHold
from cost_service.usecases.top_up_budget import TopUpBudget
from service_kit.access import AccessChecks, ProjectAccess
from service_kit.clock import SystemClock
from service_kit.database import open_engine, sessions
from service_kit.request_context import Caller

DEFAULT_CAP = 1_000
DEFAULT_ALLOWANCE = 10_000
DEFAULT_TEAM_CAP = 4_000
DEFAULTS = BudgetDefaults(DEFAULT_ALLOWANCE, DEFAULT_CAP, DEFAULT_TEAM_CAP)
SCALE = int(os.environ.get("WEIR_TEST_SCALE", "1"))
OWNER = Caller("owner-1", "person", "user", session_id="s1")
ADMIN = Caller("admin-1", "person", "admin", session_id="s2")


class Everything:
    """Knows every project, team and key as the owner's."""

    words = frozenset({"costs:read", "budgets:write"})

    def __init__(self, owner_user_id: str = "owner-1") -> None:
        self.owner_user_id = owner_user_id

    async def project_access(self, user_id, project_id, scopes):
        return ProjectAccess(project_id or "default", self.owner_user_id, False, self.words)

    async def team_access(self, user_id, team_id):
        return TeamAccess(team_id, self.words)

    async def api_key_access(self, user_id, api_key_id, scopes):
        return ApiKeyAccess(api_key_id, "p1", self.words)


class Money:
    """The use cases of the ledger, and the database below them as the service's role sees it."""

    def __init__(self, engine, connection) -> None:
        self.registry = CollectorRegistry()
        self.engine = engine
        self.connection = connection
        self.work = PostgresUnitOfWork(sessions(engine))
        self.meter = CostMetrics(self.registry)
        self.open_budgets = OpenBudgets(self.work, DEFAULTS)
        self._place = PlaceHold(self.work, self.open_budgets, self.meter)
        self._settle = SettleHold(self.work, self.meter)
        self._correct = CorrectCharge(self.work, self.meter)
        self.access = AccessChecks(Everything(), SystemClock())
        self.owners = OwnerChecks(self.access, Everything())
        self._set_budget = SetBudget(self.owners, self.work, DEFAULTS)
        self._top_up = TopUpBudget(self.owners, self.work, DEFAULTS)
        self._clear = ClearBudget(self.owners, self.work, DEFAULTS)
        self._get_budget = GetBudget(self.owners, self.work, DEFAULTS)
        self._list_alerts = ListBudgetAlerts(self.owners, self.work)

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

    async def set_budget(self, cap, whose="p1", period_kind=PeriodKind.MONTHLY):
        return await self._set_budget(OWNER, owner(whose), cap, period_kind)

    async def top_up(self, amount, request_id="", whose="p1", period_kind=PeriodKind.MONTHLY):
        return await self._top_up(OWNER, owner(whose), amount, period_kind, request_id)

    async def clear(self, whose="p1", period_kind=PeriodKind.MONTHLY):
        await self._clear(OWNER, owner(whose), period_kind)

    async def shown(self, whose="p1"):
        """Return what GetBudget shows."""
        return await self._get_budget(OWNER, owner(whose))

    async def alerts(self, whose="p1", page_size=50, page_token=""):
        return await self._list_alerts(OWNER, owner(whose), page_size, page_token)

    async def set_cap(self, scope, cap, period_kind=PeriodKind.MONTHLY):
        """Set the cap of any scope below its use case, without asking who may."""
        async with self.work() as work:
            locked = await lock_cap(work, scope, period_kind, DEFAULTS)
            return await locked.change(cap)

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

    async def budget(self, scope_id="p1", period_kind=PeriodKind.MONTHLY):
        """Return (cap, reserved, posted) of the scope's only month, or day, or total."""
        row = await self.row(
            "SELECT cap_nanousd, reserved_nanousd, posted_nanousd FROM budgets "
            "WHERE scope_id = $1 AND period_kind = $2",
            scope_id,
            period_kind,
        )
        return tuple(row) if row else None

    def metric(self, name, **labels):
        return self.registry.get_sample_value(name, labels)


def owner(whose):
    """Return the owner that is meant by a project's id, or by the scope of a team or key."""
    if isinstance(whose, str):
        return BudgetOwner(project_id=whose)
    return BudgetOwner(**{whose.kind.id_name: whose.scope_id})


def project(project_id="p1", *, default=True):
    return BudgetScope(BudgetScopeKind.PROJECT, project_id, "owner-1", default)


def team(team_id="t1"):
    return BudgetScope(BudgetScopeKind.TEAM, team_id)


def api_key(key_id="k1"):
    return BudgetScope(BudgetScopeKind.API_KEY, key_id)


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
    # A tenth of what TRUNCATE takes, which makes new files for each table and index.
    deletes = ";".join(f"DELETE FROM {table}" for table in (*MUTABLE, *APPEND_ONLY))
    connection = await asyncpg.connect(superuser_url)
    try:
        await connection.execute(
            f"SET session_replication_role = replica; {deletes};"
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
    # Who waits in a circle is found out by Postgres after a second; all other waits are for a busy
    # machine, and patient.
    engine = open_engine(
        database,
        application_name="test",
        pool_size=20,
        pool_timeout=30,
        lock_timeout=30,
        statement_timeout=30,
    )

    @event.listens_for(engine.sync_engine, "do_connect")
    def be_patient(dialect, record, arguments, options):
        options["timeout"] = 30
        options["server_settings"]["idle_in_transaction_session_timeout"] = "30000"

    yield Money(engine, connection)
    await engine.dispose()
