"""Months, days and totals, with the database's clock held still (X-M7)."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import asyncpg
import pytest
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import create_async_engine

from cost_service.adapters.audit_readers import PostgresCostBooks
from cost_service.domain.budget import Cap
from cost_service.domain.budget_scope import BudgetScope, BudgetScopeKind
from cost_service.domain.errors import BudgetExceeded, NoBudget
from cost_service.domain.ledger_check import JobBooks, check
from cost_service.domain.period import PeriodKind
from service_kit.database import async_url

from .conftest import Money, api_key, check_books, project, team

MONTHLY, DAILY, TOTAL = PeriodKind
# A schema that is looked through before Postgres' own, where `now()` is found first.
FAKE_CLOCK = """
    CREATE SCHEMA IF NOT EXISTS fake_clock;
    GRANT USAGE ON SCHEMA fake_clock TO PUBLIC;
    CREATE OR REPLACE FUNCTION fake_clock.now() RETURNS timestamptz STABLE LANGUAGE sql
    AS $$ SELECT CAST(current_setting('fake_clock.now') AS timestamptz) $$;
"""
WAITING = (
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


@pytest.fixture
async def at(migrated_database, database):
    """Give the use cases over a database whose clock stands still at a moment."""
    superuser = await asyncpg.connect(migrated_database.superuser_url(database))
    await superuser.execute(FAKE_CLOCK)
    await superuser.close()

    @asynccontextmanager
    async def opened(moment, zone="UTC"):
        settings = {
            "search_path": "fake_clock, pg_catalog, public",
            "fake_clock.now": moment,
            "TimeZone": zone,
        }
        engine = create_async_engine(
            async_url(database), connect_args={"server_settings": settings}, pool_size=5
        )
        connection = await asyncpg.connect(database)
        try:
            yield Money(engine, connection)
        finally:
            await connection.close()
            await engine.dispose()

    return opened


async def rows(money):
    """Return period -> (cap, reserved, posted) of all budgets."""
    found = await money.connection.fetch("SELECT * FROM budgets")
    return {
        row["period"]: (row["cap_nanousd"], row["reserved_nanousd"], row["posted_nanousd"])
        for row in found
    }


class TestRollover:
    @pytest.mark.parametrize(
        ("last", "first"),
        [
            # The end of a month, of a year, and of a February; in Berlin, both changes of the
            # clock, and the midnight of a place that is hours away from ours.
            ("2026-10-31T23:59:59Z", "2026-11-01T00:00:00Z"),
            ("2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z"),
            ("2028-02-29T23:59:59Z", "2028-03-01T00:00:00Z"),
        ],
    )
    @pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/Los_Angeles"])
    async def test_one_period_per_charge(self, at, database, last, first, zone):
        """A charge counts in the month and day of its hold, all of it, a second later too."""
        async with at(last, zone) as before, at(first, zone) as after:
            await before.set_budget(100)
            await before.set_budget(60, period_kind=DAILY)
            await before.set_budget(150, period_kind=TOTAL)
            await before.hold("old:1", 60)
            with pytest.raises(BudgetExceeded) as refused:
                await before.hold("none:1", 1)
            assert refused.value.metadata["period"] == last[:10]

            await after.hold("new:1", 60)
            await after.post("old:1", 50)
            await after.post("new:1", 40)

            assert await rows(after) == {
                last[:7]: (100, 0, 50),
                last[:10]: (60, 0, 50),
                first[:7]: (100, 0, 40),
                first[:10]: (60, 0, 40),
                "total": (150, 0, 90),
            }
            periods = await after.connection.fetch("SELECT period FROM ledger ORDER BY entry_id")
            assert [row["period"] for row in periods] == [last[:7], first[:7]]
        await check_books(database)

    @pytest.mark.parametrize(
        ("before", "after", "day"),
        [
            # 02:00 becomes 03:00, 03:00 becomes 02:00, and midnight there: the same day in UTC.
            ("2026-03-29T00:59:59Z", "2026-03-29T01:00:01Z", "2026-03-29"),
            ("2026-10-25T00:59:59Z", "2026-10-25T01:00:01Z", "2026-10-25"),
            ("2026-10-31T22:59:59Z", "2026-10-31T23:00:01Z", "2026-10-31"),
        ],
    )
    async def test_local_time_decides_nothing(self, at, before, after, day):
        """Neither a change of the clock nor midnight in the session's zone starts a period."""
        async with at(before, "Europe/Berlin") as early, at(after, "Europe/Berlin") as late:
            await early.set_budget(100)
            await early.set_budget(60, period_kind=DAILY)
            await early.hold("j1:1", 40)

            with pytest.raises(BudgetExceeded):
                await late.hold("j2:1", 21)

            assert await rows(late) == {day[:7]: (100, 40, 0), day: (60, 40, 0)}

    @pytest.mark.parametrize("opened_first", [False, True])
    async def test_cap_set_across_midnight(self, at, database, opened_first):
        """A cap that is set while the month ends holds in the new month as well.

        Whether the new month is opened from the old cap before the new one is stored, or waits
        for it: the row ends up with the new one.
        """
        async with at("2026-10-31T23:59:59Z") as old, at("2026-11-01T00:00:00Z") as new:
            await old.set_budget(100)
            scope = BudgetScope(BudgetScopeKind.PROJECT, "p1", "owner-1")
            if opened_first:
                await new.hold("j1:1", 10)
            async with old.work() as work:
                await work.allocations.find_for_update(scope)
                waiting = asyncio.create_task(new.hold("j2:1", 10))
                if opened_first:
                    await waiting
                else:
                    await blocked(new)
                cap = Cap(scope, MONTHLY, 30)
                await work.allocations.save(cap)
                await work.budgets.set_cap(cap)
                await work.allowances.save(
                    (await work.allowances.find("owner-1", 0)).reallocated(scope, 100, 30)
                )
            await waiting

            assert (await rows(new))["2026-11"][0] == 30
            assert (await rows(new))["2026-10"][0] == 30
        await check_books(database)


async def blocked(money):
    """Wait until somebody in the database waits for a row."""
    async with asyncio.timeout(10):
        while not await money.value(WAITING):  # noqa: ASYNC110 -- another process tells
            await asyncio.sleep(0.01)


class TestSeveralCaps:
    async def test_tightest_decides_and_is_named(self, money):
        """A hold needs room under every cap of its scopes; the refusal names the one without."""
        await money.set_budget(1000)
        await money.set_budget(100, period_kind=DAILY)
        await money.set_budget(150, period_kind=TOTAL)
        await money.hold("j1:1", 100)
        await money.void("j1:1")
        await money.hold("j2:1", 60)

        with pytest.raises(BudgetExceeded) as refused:
            await money.hold("j3:1", 41)
        assert refused.value.metadata["period_kind"] == "daily"
        assert refused.value.message.startswith("The daily budget of project p1 ")
        await money.set_budget(1000, period_kind=DAILY)
        with pytest.raises(BudgetExceeded) as refused:
            await money.hold("j3:1", 91)
        assert refused.value.metadata["period"] == "total"

        assert [await money.budget(period_kind=kind) for kind in PeriodKind] == [
            (1000, 60, 0),
            (1000, 60, 0),
            (150, 60, 0),
        ]

    async def test_optional_caps_replace_no_budget(self, money):
        """A project with a daily cap alone still can't spend."""
        await money.set_budget(100, period_kind=DAILY)

        with pytest.raises(NoBudget):
            await money.hold("j1:1", 1, [project(default=False)])

    async def test_cap_set_while_work_runs(self, money, database):
        """A cap counts from when it is set: what was held before it is settled without it."""
        await money.set_budget(1000)
        await money.hold("j1:1", 100)
        await money.set_budget(50, period_kind=DAILY)
        await money.hold("j2:1", 50)

        await money.post("j1:1", 100)
        await money.post("j2:1", 40)

        assert await money.budget() == (1000, 0, 140)
        assert await money.budget(period_kind=DAILY) == (50, 0, 40)
        await check_books(database)

    async def test_team_bounds_its_projects_together(self, money, database):
        """A team's cap is spent by all of its projects, and takes nothing from an allowance."""
        await money.set_budget(1000, "p1")
        await money.set_budget(1000, "p2")
        await money.set_cap(team(), 100)
        await money.hold("j1:1", 60, [project("p1"), team()])

        with pytest.raises(BudgetExceeded) as refused:
            await money.hold("j2:1", 41, [project("p2"), team()])

        assert refused.value.metadata["scope_kind"] == "team"
        assert await money.value("SELECT allocated_nanousd FROM allowances") == 2000
        await money.hold("j3:1", 41, [project("p2")])
        await check_books(database)

    async def test_key_within_its_project(self, money):
        """A key's cap bounds the key; the project's other keys are bound by the project alone."""
        await money.set_budget(1000)
        await money.set_cap(api_key(), 10, TOTAL)

        with pytest.raises(BudgetExceeded):
            await money.hold("j1:1", 11, [project(), api_key()])
        await money.hold("j1:1", 11, [project(), api_key("k2")])

    async def test_shown_together(self, money):
        """All that are set are shown, a period before its first hold with the cap that is set."""
        await money.set_budget(1000)
        await money.set_budget(10, period_kind=TOTAL)
        await money.set_budget(100, period_kind=DAILY)
        await money.hold("j1:1", 10)
        await money.connection.execute(
            "UPDATE budgets SET period = '2020-01-01' WHERE period_kind = 'daily'"
        )

        shown = await money.shown()

        assert [(one.period_kind, one.cap_nanousd, one.reserved_nanousd) for one in shown] == [
            (MONTHLY, 1000, 10),
            (DAILY, 100, 0),
            (TOTAL, 10, 10),
        ]


class TestChecker:
    async def test_stale_cap_is_drift(self, money, database):
        """A current row whose cap is not the one that is set is found; one that is over is not."""
        await money.set_budget(1000)
        await money.set_budget(100, period_kind=DAILY)
        await money.set_budget(50, period_kind=TOTAL)
        await money.connection.execute("UPDATE budgets SET cap_nanousd = 7")
        await money.connection.execute(
            "INSERT INTO budgets (scope_kind, scope_id, period, cap_nanousd) "
            "VALUES ('project', 'p1', '2020-01', 3)"
        )

        books = await PostgresCostBooks(SecretStr(database)).read()
        found = check([], books, JobBooks(), max_age_seconds=60).drifts

        assert [(one.rule, one.detail) for one in found] == [
            ("cap_is_as_set", "cap 7, set 1000"),
            ("cap_is_as_set", "cap 7, set 100"),
            ("cap_is_as_set", "cap 7, set 50"),
        ]


class TestPostWithoutHold:
    async def test_goes_by_its_outcome(self, money, database):
        """Where the hold is unknown, its job's outcome says month and day."""
        await money.set_budget(1000)
        await money.set_budget(100, period_kind=DAILY)
        await money.set_budget(100, period_kind=TOTAL)

        await money.post(
            amount=60, period="2025-12", finished_at=datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC)
        )

        found = await rows(money)
        assert found["2025-12"] == (1000, 0, 60)
        assert found["2025-12-31"] == (100, 0, 60)
        assert found["total"] == (100, 0, 60)
        assert sorted(posted for _, _, posted in found.values()) == [0, 0, 60, 60, 60]
        assert await money.value("SELECT period FROM ledger") == "2025-12"
        await check_books(database)

    async def test_unset_caps_take_no_part(self, money):
        """A project without a daily cap gets no day, and a key without a cap nothing at all."""
        await money.post(amount=60, scopes=[project(), api_key(), team()])

        kinds = await money.connection.fetch("SELECT scope_kind, period_kind FROM budgets")
        assert sorted(tuple(row) for row in kinds) == [("project", "monthly"), ("team", "monthly")]
