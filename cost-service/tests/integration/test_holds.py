"""Holds and their settlement, on a real Postgres."""

from __future__ import annotations

import asyncpg
import pytest

from cost_service.domain.errors import BudgetExceeded, HoldSettled, NoBudget
from cost_service.domain.hold import HoldState
from cost_service.usecases.get_project_costs import GetProjectCosts
from cost_service.usecases.get_project_report import GetProjectReport

from .conftest import (
    DEFAULT_ALLOWANCE,
    DEFAULT_CAP,
    DEFAULT_TEAM_CAP,
    OWNER,
    SCALE,
    api_key,
    project,
    team,
)

INT64_MAX = 2**63 - 1
# WEIR_TEST_SCALE=100 for the million of the fault list.
MANY = 10_000 * SCALE


class TestPlaceHold:
    async def test_default_project_gets_its_cap_at_first_hold(self, money):
        """The first hold of a default project allocates the default cap from the allowance."""
        hold = await money.hold(amount=100)

        assert (hold.state, hold.amount_nanousd) == (HoldState.HELD, 100)
        assert await money.budget() == (DEFAULT_CAP, 100, 0)
        assert tuple(await money.row("SELECT * FROM allowances")) == (
            "owner-1",
            DEFAULT_ALLOWANCE,
            DEFAULT_CAP,
        )

    async def test_default_cap_is_what_is_left(self, money):
        """Where the allowance has less left than the default cap, that is the cap."""
        await money.set_budget(DEFAULT_ALLOWANCE - 300, "other")

        await money.hold(amount=300)

        assert await money.budget() == (300, 300, 0)

    async def test_default_project_without_allowance_has_no_budget(self, money):
        """Where nothing is left of the allowance, nothing is allocated, now or for later."""
        await money.set_budget(DEFAULT_ALLOWANCE, "other")

        with pytest.raises(NoBudget):
            await money.hold(amount=1)

        assert await money.value("SELECT count(*) FROM allocations WHERE scope_id = 'p1'") == 0

    async def test_other_project_needs_a_budget(self, money):
        """A project that is no default one is refused until a budget is set, then served."""
        scopes = [project(default=False)]
        with pytest.raises(NoBudget) as refused:
            await money.hold(scopes=scopes)
        assert refused.value.metadata["scope_id"] == "p1"

        await money.set_budget(500)

        assert (await money.hold(scopes=scopes)).state is HoldState.HELD

    async def test_refusal_tells_the_figures(self, money):
        """A refused hold leaves nothing behind and says what there was and what was asked."""
        await money.hold("j1:1", 700)

        with pytest.raises(BudgetExceeded) as refused:
            await money.hold("j2:1", 301)

        month = await money.value("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM')")
        assert refused.value.metadata == {
            "scope_kind": "project",
            "scope_id": "p1",
            "period_kind": "monthly",
            "period": month,
            "cap_nanousd": "1000",
            "reserved_nanousd": "700",
            "posted_nanousd": "0",
            "requested_nanousd": "301",
        }
        assert refused.value.message == (
            "The monthly budget of project p1 had $0.0000003 left, and this request may cost up to "
            "$0.000000301: an owner or manager of the project can raise or top it up."
        )
        assert await money.budget() == (1000, 700, 0)
        assert await money.value("SELECT count(*) FROM holds") == 1

    async def test_last_nanodollar_fits(self, money):
        """A hold of exactly what is left is granted."""
        await money.hold("j1:1", 999)
        await money.hold("j2:1", 1)

        assert await money.budget() == (1000, 1000, 0)

    async def test_same_hold_again(self, money):
        """A repeated hold returns the first one and reserves nothing more, whatever it asks."""
        first = await money.hold(amount=100)
        again = await money.hold(amount=999)

        assert again == first
        assert await money.budget() == (1000, 100, 0)
        assert money.metric("cost_holds_total", outcome="repeated") == 1

    @pytest.mark.parametrize("end", ["post", "void"])
    async def test_settled_hold_never_comes_back(self, money, end):
        """A hold that was posted or voided can't be placed again."""
        await money.hold()
        await getattr(money, end)()

        with pytest.raises(HoldSettled):
            await money.hold()

    async def test_every_scope_or_none(self, money):
        """If one of several scopes has too little left, no scope keeps a reserve."""
        await money.hold("j1:1", 3_600, [team()])

        with pytest.raises(BudgetExceeded) as refused:
            await money.hold("j2:1", 600, [project(), team()])

        assert refused.value.metadata["scope_kind"] == "team"
        assert await money.budget("p1") == (1000, 0, 0)
        assert await money.budget("t1") == (DEFAULT_TEAM_CAP, 3_600, 0)

    async def test_key_without_cap_is_not_limited(self, money):
        """A key takes part only if a cap was set for it."""
        await money.hold("j1:1", 100, [project(), api_key()])
        assert await money.value("SELECT count(*) FROM hold_scopes") == 1

        await money.set_cap(api_key(), 50)
        with pytest.raises(BudgetExceeded) as refused:
            await money.hold("j2:1", 51, [project(), api_key()])
        assert refused.value.metadata["scope_kind"] == "api_key"
        await money.hold("j3:1", 50, [project(), api_key()])

        assert await money.budget("k1") == (50, 50, 0)

    async def test_amounts_near_int64(self, money):
        """Sums that would pass int64 are refused, not wrapped and not an error."""
        await money.connection.execute(
            "INSERT INTO allowances VALUES ('owner-1', $1, 0)", INT64_MAX
        )
        await money.set_budget(INT64_MAX)
        await money.hold("j1:1", INT64_MAX - 1)

        with pytest.raises(BudgetExceeded):
            await money.hold("j2:1", INT64_MAX)
        await money.hold("j3:1", 1)
        assert await money.post("j1:1", INT64_MAX - 1)

        assert await money.budget() == (INT64_MAX, 1, INT64_MAX - 1)


class TestChecks:
    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE budgets SET cap_nanousd = -1",
            "UPDATE budgets SET reserved_nanousd = -1",
            "UPDATE budgets SET posted_nanousd = -1",
            "UPDATE budgets SET period_kind = 'daily'",
            "UPDATE budgets SET period_kind = 'total'",
            "UPDATE budgets SET period_kind = 'weekly'",
            "UPDATE budgets SET period_kind = 'daily', period = '2026-1-1'",
            "UPDATE allowances SET amount_nanousd = -1",
            "UPDATE allocations SET cap_nanousd = -1",
            "UPDATE caps SET cap_nanousd = -1",
            "INSERT INTO caps VALUES ('project', 'p1', 'monthly', 1)",
            "INSERT INTO budget_top_ups SELECT 'project', 'p1', 'r', 'daily', 'x', 0, 1, 0, 0",
            "INSERT INTO budget_alerts (budget_id, level, cap_nanousd, posted_nanousd) "
            "SELECT budget_id, 'ok', 1, 1 FROM budgets",
        ],
    )
    async def test_nonsense_is_refused_by_the_database(self, money, statement):
        """X-M4: whoever writes, a row is never negative, nor of a kind that there isn't."""
        await money.set_budget(1)
        await money.set_cap(team(), 1)

        with pytest.raises(asyncpg.CheckViolationError):
            await money.connection.execute(statement)


class TestSettleHold:
    async def test_post_releases_and_charges(self, money):
        """A post lets the whole reserve go and charges what was used, in one entry."""
        await money.hold(amount=100)

        assert await money.post(amount=60, target="local", tokens_input=3, price_version="1")

        assert await money.budget() == (1000, 0, 60)
        entry = await money.row("SELECT * FROM ledger")
        assert (entry["kind"], entry["amount_nanousd"], entry["hold_id"]) == ("post", 60, "j1:1")
        assert (entry["target"], entry["tokens_input"]) == ("local", 3)
        assert await money.value("SELECT state FROM holds") == "posted"
        assert money.metric("cost_ledger_entries_total", kind="post") == 1

    async def test_void_releases_without_charge(self, money):
        """A void lets the reserve go and charges nothing."""
        await money.hold()

        assert await money.void()

        assert await money.budget() == (1000, 0, 0)
        assert await money.value("SELECT state FROM holds") == "voided"

    @pytest.mark.parametrize("first", ["post", "void"])
    @pytest.mark.parametrize("second", ["post", "void"])
    async def test_only_the_first_settlement_counts(self, money, first, second):
        """Any further post or void of a hold changes nothing and says so."""
        await money.hold()
        assert await getattr(money, first)()
        before = await money.budget()

        assert await getattr(money, second)() is False

        assert await money.budget() == before
        assert await money.value("SELECT count(*) FROM ledger") == 1

    async def test_index_alone_decides(self, money):
        """Were the hold's state wrong, the ledger's unique index would still book once."""
        await money.hold()
        await money.post()
        await money.connection.execute("UPDATE holds SET state = 'held', settled_at = NULL")

        assert await money.post() is False

        assert await money.budget() == (1000, 0, 60)

    async def test_charge_is_cut_to_the_hold(self, money):
        """What goes beyond the hold is ours: booked up to the hold, flagged and counted."""
        await money.hold(amount=100)

        assert await money.post(amount=150)

        assert await money.budget() == (1000, 0, 100)
        entry = await money.row("SELECT amount_nanousd, excess_nanousd FROM ledger")
        assert tuple(entry) == (100, 50)
        assert money.metric("cost_post_beyond_hold_total") == 1

    async def test_post_of_nothing_is_a_post(self, money):
        """An explicit zero is booked as a charge of zero."""
        await money.hold()

        assert await money.post(amount=0)

        assert await money.value("SELECT kind FROM ledger") == "post"
        assert await money.budget() == (1000, 0, 0)

    async def test_void_of_unknown_hold_bars_it(self, money):
        """Voiding a hold that never came keeps it from ever being placed."""
        assert await money.void(scopes=[])

        with pytest.raises(HoldSettled):
            await money.hold()
        assert await money.void() is False
        assert await money.value("SELECT count(*) FROM ledger") == 1

    async def test_post_without_hold_is_booked(self, money):
        """A charge whose hold is unknown is booked on the month and scopes it names."""
        assert await money.post(amount=60, period="2025-12")

        row = await money.row("SELECT period, cap_nanousd, posted_nanousd FROM budgets")
        assert tuple(row) == ("2025-12", 0, 60)
        assert money.metric("cost_post_without_hold_total") == 1
        with pytest.raises(HoldSettled):
            await money.hold()
        assert await money.post(amount=60) is False

    async def test_post_without_hold_does_not_spoil_the_default(self, money):
        """A month opened by such a charge still gets the default cap at the first hold."""
        await money.post("j0:1", amount=60)
        assert await money.budget() == (0, 0, 60)

        await money.hold()

        assert await money.budget() == (1000, 100, 60)

    async def test_post_without_hold_or_scope(self, money):
        """A charge that names no scope is booked in the ledger alone."""
        assert await money.post(amount=60, scopes=[])

        assert await money.value("SELECT amount_nanousd FROM ledger") == 60

    async def test_settlement_goes_to_the_month_of_the_hold(self, money):
        """A hold of last month is settled in last month."""
        await money.hold()
        await money.connection.execute("UPDATE budgets SET period = '2020-01'")

        await money.post(amount=60)
        await money.hold("j2:1", 10)

        rows = await money.connection.fetch(
            "SELECT reserved_nanousd, posted_nanousd FROM budgets ORDER BY period"
        )
        assert [tuple(row) for row in rows] == [(0, 60), (10, 0)]
        assert await money.value("SELECT period FROM ledger") == "2020-01"

    async def test_odd_report_is_stored_clean(self, money):
        """What a settlement says about its job can't keep it from being booked."""
        await money.hold()

        assert await money.post(
            model="m\0" + "x" * 500, tokens_input=-5, provider_cost_nanousd=-1, period="soon"
        )

        row = await money.row("SELECT length(model) AS n, tokens_input FROM ledger")
        assert tuple(row) == (200, 0)

    async def test_sum_of_single_nanodollars_is_exact(self, money):
        """X-M5: three hundred charges of 1 nano-USD are 300 nano-USD, none rounded away."""
        await money.set_budget(300)
        for number in range(300):
            await money.hold(f"j{number}:1", 1)
            await money.post(f"j{number}:1", 1)

        assert await money.budget() == (300, 0, 300)
        with pytest.raises(BudgetExceeded):
            await money.hold("more:1", 1)

    async def test_report_of_very_many_nanodollars(self, money):
        """X-M5: however many charges of 1 nano-USD a project has, the sum has every one of them."""
        await money.connection.execute(
            "INSERT INTO ledger (hold_id, kind, amount_nanousd, budget_ids, period, job_id, "
            "project_id, job_state, target, model, tokens_input, tokens_output, usage_source, "
            "provider_cost_nanousd, price_version) "
            "SELECT 'j' || n || ':1', 'post', 1, '{}', '2026-11', 'j' || n, 'p1', 'completed', "
            "'', '', 0, 0, '', 0, '' FROM generate_series(1, CAST($1 AS bigint)) n",
            MANY,
            timeout=600,
        )

        costs = await GetProjectCosts(GetProjectReport(money.access, money.work))(OWNER, "p1", 1)

        assert (costs.total_cost_nanousd, costs.total_jobs) == (MANY, MANY)
