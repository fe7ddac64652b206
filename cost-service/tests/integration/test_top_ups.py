"""Adding to caps, and what a user may allocate, on a real Postgres."""

from __future__ import annotations

import asyncio
import json

import pytest

from cost_service.domain.errors import AllowanceExceeded, BudgetNotSet, IdempotencyKeyReused
from cost_service.domain.period import PeriodKind
from cost_service.usecases.get_allowance import GetAllowance
from cost_service.usecases.set_allowance import SetAllowance
from service_kit.errors import InvalidArgument
from service_kit.request_context import Caller

from .conftest import DEFAULT_ALLOWANCE, OWNER, check_books

ADMIN = Caller("boss", "person", "admin")


class TestTopUp:
    async def test_adds_to_the_cap_and_what_is_allocated(self, money, database):
        """A top-up raises this month's cap and those to come, out of the allowance."""
        await money.set_budget(500)

        budget = await money.top_up(200)

        assert (budget.cap_nanousd, budget.period_kind) == (700, PeriodKind.MONTHLY)
        assert await money.value("SELECT cap_nanousd FROM allocations") == 700
        assert await money.value("SELECT allocated_nanousd FROM allowances") == 700
        details = await money.value(
            "SELECT details FROM audit_entries WHERE action = 'budget.topped_up'"
        )
        assert json.loads(details) == {
            "period_kind": "monthly",
            "amount_nanousd": 200,
            "cap_nanousd": 700,
        }
        await check_books(database)

    async def test_same_request_again(self, money):
        """The same id gets the first answer, whatever happened since, and adds nothing."""
        await money.set_budget(500)
        first = await money.top_up(200, "r1")
        await money.hold(amount=50)
        await money.set_budget(DEFAULT_ALLOWANCE)

        assert await money.top_up(200, "r1") == first
        assert (await money.budget())[0] == DEFAULT_ALLOWANCE

    async def test_same_id_for_something_else(self, money):
        """Another amount under the same id is refused; in another project the id is free."""
        await money.set_budget(500)
        await money.set_budget(500, "p2")
        await money.top_up(200, "r1")

        with pytest.raises(IdempotencyKeyReused):
            await money.top_up(201, "r1")
        assert (await money.top_up(300, "r1", "p2")).cap_nanousd == 800

    async def test_twenty_at_once(self, money, database):
        """One id sent twenty times at once adds once; twenty ids add twenty times."""
        await money.set_budget(100)
        await money.set_budget(100, period_kind=PeriodKind.DAILY)

        for kind in (PeriodKind.MONTHLY, PeriodKind.DAILY):
            same = await asyncio.gather(
                *(money.top_up(10, f"same-{kind}", period_kind=kind) for _ in range(20))
            )
            await asyncio.gather(
                *(money.top_up(1, f"{kind}-{number}", period_kind=kind) for number in range(20))
            )
            assert {budget.cap_nanousd for budget in same} == {110}
            assert (await money.budget(period_kind=kind))[0] == 130
        await check_books(database)

    async def test_allowance_is_the_limit(self, money):
        """What the allowance does not cover is refused and not remembered; then it may be."""
        await money.set_budget(DEFAULT_ALLOWANCE - 10)

        with pytest.raises(AllowanceExceeded):
            await money.top_up(11, "r1")
        await SetAllowance(money.work, 0)(ADMIN, "owner-1", DEFAULT_ALLOWANCE + 1)

        assert (await money.top_up(11, "r1")).cap_nanousd == DEFAULT_ALLOWANCE + 1

    async def test_optional_caps_need_no_allowance(self, money):
        """A daily cap gives no money, so none has to be there for it."""
        await money.set_budget(10)
        await money.set_budget(5 * DEFAULT_ALLOWANCE, period_kind=PeriodKind.DAILY)

        budget = await money.top_up(1, period_kind=PeriodKind.DAILY)

        assert budget.cap_nanousd == 5 * DEFAULT_ALLOWANCE + 1
        assert await money.value("SELECT allocated_nanousd FROM allowances") == 10

    @pytest.mark.parametrize("kind", PeriodKind)
    async def test_nothing_to_add_to(self, money, kind):
        """Where no such cap is set there is nothing to top up, and nothing is left behind."""
        with pytest.raises(BudgetNotSet) as refused:
            await money.top_up(1, period_kind=kind)

        assert refused.value.metadata["period_kind"] == kind
        assert await money.value("SELECT count(*) FROM budgets") == 0

    async def test_beyond_int64(self, money):
        """A sum that can't be stored is refused."""
        await money.set_budget(2**63 - 1, period_kind=PeriodKind.TOTAL)

        with pytest.raises(InvalidArgument):
            await money.top_up(1, period_kind=PeriodKind.TOTAL)


class TestClearBudget:
    async def test_cap_is_gone(self, money, database):
        """A cap that was taken away bounds nothing and shows nothing; it can be set again."""
        await money.set_budget(500)
        await money.set_budget(50, period_kind=PeriodKind.TOTAL)
        await money.hold("j1:1", 50)

        await money.clear(period_kind=PeriodKind.TOTAL)
        await money.clear(period_kind=PeriodKind.TOTAL)
        await money.hold("j2:1", 60)
        await money.post("j1:1", 40)

        shown = await money.shown()
        assert [budget.period_kind for budget in shown] == [PeriodKind.MONTHLY]
        again = await money.set_budget(45, period_kind=PeriodKind.TOTAL)
        assert (again.reserved_nanousd, again.posted_nanousd) == (0, 40)
        actions = await money.connection.fetch("SELECT action FROM audit_entries")
        assert [row["action"] for row in actions].count("budget.cleared") == 1
        await check_books(database)

    async def test_monthly_budget_stays(self, money):
        """A project must have its monthly budget."""
        await money.set_budget(500)

        with pytest.raises(InvalidArgument):
            await money.clear()


class TestAllowance:
    async def test_set_and_shown(self, money):
        """An administrator's change is audited, and shown with what is allocated of it."""
        get = GetAllowance(money.work, DEFAULT_ALLOWANCE)
        before = await get(ADMIN, "owner-1")
        await money.set_budget(600)

        await SetAllowance(money.work, DEFAULT_ALLOWANCE)(ADMIN, "owner-1", 900)

        after = await get(OWNER, "owner-1")
        assert (before.amount_nanousd, before.allocated_nanousd) == (DEFAULT_ALLOWANCE, 0)
        assert (after.amount_nanousd, after.allocated_nanousd, after.left_nanousd) == (
            900,
            600,
            300,
        )
        entry = await money.row("SELECT * FROM audit_entries WHERE action = 'allowance.set'")
        assert (entry["actor"], entry["subject"]) == ("user:boss", "user owner-1")
        assert json.loads(entry["details"]) == {
            "before_nanousd": DEFAULT_ALLOWANCE,
            "amount_nanousd": 900,
        }

    async def test_cut_below_what_is_allocated(self, money, database):
        """Caps stay as they are; none can be raised until they fit again."""
        await money.set_budget(600)
        await SetAllowance(money.work, DEFAULT_ALLOWANCE)(ADMIN, "owner-1", 100)

        await money.hold(amount=600)
        with pytest.raises(AllowanceExceeded):
            await money.set_budget(601)
        await money.set_budget(599)
        await check_books(database)

    @pytest.mark.parametrize("amount", [-1, 2**63])
    async def test_impossible_amounts(self, money, amount):
        """An allowance is 0 or more and fits."""
        with pytest.raises(InvalidArgument):
            await SetAllowance(money.work, DEFAULT_ALLOWANCE)(ADMIN, "u1", amount)
