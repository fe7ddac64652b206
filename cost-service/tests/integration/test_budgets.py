"""Budgets and reports, on a real Postgres."""

from __future__ import annotations

import json

import pytest

from cost_service.domain.budget import BudgetStatus
from cost_service.domain.errors import AllowanceExceeded, BudgetExceeded, JobCostNotFound, NoBudget
from cost_service.usecases.get_job_cost import GetJobCost
from cost_service.usecases.get_project_costs import GetProjectCosts
from cost_service.usecases.get_project_report import GetProjectReport
from cost_service.usecases.list_open_holds import ListOpenHolds
from service_kit.errors import InvalidArgument

from .conftest import DEFAULT_ALLOWANCE, OWNER, check_books, project


class TestSetBudget:
    async def test_sets_this_month_and_those_to_come(self, money):
        """A budget is the cap of this month and the allocation of the next ones."""
        budget = await money.set_budget(500)

        assert (budget.cap_nanousd, budget.status) == (500, BudgetStatus.OK)
        assert await money.budget() == (500, 0, 0)
        assert await money.value("SELECT cap_nanousd FROM allocations") == 500
        entry = await money.row("SELECT actor, action, subject, details FROM audit_entries")
        assert tuple(entry)[:3] == ("user:owner-1", "budget.set", "project p1")
        assert json.loads(entry["details"]) == {
            "period_kind": "monthly",
            "before_nanousd": 0,
            "cap_nanousd": 500,
        }

    async def test_allowance_is_the_limit(self, money):
        """All budgets of an owner together stay within the allowance; a refusal changes nothing."""
        await money.set_budget(DEFAULT_ALLOWANCE - 100, "p1")

        with pytest.raises(AllowanceExceeded) as refused:
            await money.set_budget(101, "p2")

        assert refused.value.metadata["allocated_nanousd"] == str(DEFAULT_ALLOWANCE - 100)
        assert refused.value.message == (
            "The allowance of the project's owner is $0.00001, of which $0.0000099 are taken, and "
            "this budget needs $0.000000101 more: lower another budget of the owner, or ask an "
            "administrator for a larger allowance."
        )
        assert await money.value("SELECT count(*) FROM allocations") == 1
        await money.set_budget(100, "p2")

    async def test_lowering_frees_the_allowance(self, money):
        """What one budget gives back, another may take."""
        await money.set_budget(DEFAULT_ALLOWANCE, "p1")
        await money.set_budget(1, "p1")

        await money.set_budget(DEFAULT_ALLOWANCE - 1, "p2")

        assert await money.value("SELECT allocated_nanousd FROM allowances") == DEFAULT_ALLOWANCE

    async def test_cap_below_what_is_spent(self, money):
        """A cap below what is held and spent is allowed, and stops further work."""
        await money.hold("j1:1", 600)
        await money.post("j1:1", 300)
        await money.hold("j2:1", 600)

        budget = await money.set_budget(200)

        assert budget.status is BudgetStatus.EXCEEDED
        with pytest.raises(BudgetExceeded):
            await money.hold("j3:1", 1)
        assert await money.post("j2:1", 500)
        assert await money.budget() == (200, 0, 800)

    async def test_spent_is_not_freed(self, money, database):
        """Lowering frees what is neither held nor spent this month; the rest stays claimed."""
        await money.set_budget(DEFAULT_ALLOWANCE, "p1")
        await money.hold("j1:1", 600)
        await money.post("j1:1", 300)
        await money.hold("j2:1", 500)
        await money.set_budget(0, "p1")

        with pytest.raises(AllowanceExceeded) as refused:
            await money.set_budget(DEFAULT_ALLOWANCE - 799, "p2")
        assert refused.value.metadata["allocated_nanousd"] == "800"
        await money.set_budget(DEFAULT_ALLOWANCE - 800, "p2")
        with pytest.raises(NoBudget):
            await money.hold("j3:1", 1, [project("default")])

        await money.void("j2:1")
        await money.set_budget(DEFAULT_ALLOWANCE - 300, "p2")
        await check_books(database)

    async def test_spent_cap_can_be_set_again(self, money):
        """Raising a cap up to what was spent claims nothing more; beyond it, the difference."""
        await money.set_budget(DEFAULT_ALLOWANCE, "p1")
        await money.hold("j1:1", 800)
        await money.set_budget(0, "p1")
        await money.set_budget(DEFAULT_ALLOWANCE - 900, "p2")

        await money.set_budget(800, "p1")
        await money.set_budget(900, "p1")
        with pytest.raises(AllowanceExceeded):
            await money.set_budget(901, "p1")

    async def test_next_month_frees_what_was_spent(self, money):
        """What was spent is claimed until the month is over; then the cap is."""
        await money.set_budget(DEFAULT_ALLOWANCE, "p1")
        await money.hold("j1:1", 800)
        await money.post("j1:1", 800)
        await money.set_budget(1, "p1")
        with pytest.raises(AllowanceExceeded):
            await money.set_budget(DEFAULT_ALLOWANCE - 1, "p2")

        await money.connection.execute("UPDATE budgets SET period = '2020-01'")

        await money.set_budget(DEFAULT_ALLOWANCE - 1, "p2")

    async def test_top_up_lets_work_go_on(self, money):
        """A refused hold is granted once the cap is raised."""
        with pytest.raises(BudgetExceeded):
            await money.hold(amount=1500)

        await money.set_budget(1500)

        await money.hold(amount=1500)

    async def test_default_allocation_is_part_of_the_new_cap(self, money):
        """Setting the budget of a default project replaces its default, not adds to it."""
        await money.hold()

        await money.set_budget(DEFAULT_ALLOWANCE)

        assert await money.value("SELECT allocated_nanousd FROM allowances") == DEFAULT_ALLOWANCE

    @pytest.mark.parametrize("cap", [-1, 2**63])
    async def test_impossible_caps(self, money, cap):
        """A cap is 0 or more and fits."""
        with pytest.raises(InvalidArgument):
            await money.set_budget(cap)


class TestGetBudget:
    async def test_nothing_set(self, money):
        """Without an allocation there is no budget, and the figures are 0."""
        (budget,) = await money.shown()

        assert (budget.has_budget, budget.cap_nanousd) == (False, 0)
        assert budget.period == await money.value(
            "SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM')"
        )

    async def test_figures_of_this_month(self, money):
        """Reserve and charges of this month, and the default project where none is named."""
        await money.hold("j1:1", 100, [project("default")])
        await money.post("j1:1", 60)
        await money.hold("j2:1", 30, [project("default")])

        (budget,) = await money.shown("")

        assert budget.scope.scope_id == "default"
        assert (budget.reserved_nanousd, budget.posted_nanousd) == (30, 60)

    async def test_new_month_before_its_first_hold(self, money):
        """A month that nothing was held in shows the allocation's cap."""
        await money.set_budget(500)
        await money.connection.execute("UPDATE budgets SET period = '2020-01'")

        (budget,) = await money.shown()

        assert (budget.has_budget, budget.cap_nanousd, budget.posted_nanousd) == (True, 500, 0)


class TestReports:
    async def test_project_costs(self, money):
        """Charges, jobs by their last outcome, and the days with charges."""
        for number, state in enumerate(["completed", "failed", "dead_letter", "cancelled"]):
            await money.hold(f"j{number}:1", 100)
            await money.post(f"j{number}:1", 10, job_state=state)
        await money.hold("j5:1", 100)
        await money.void("j5:1", job_state="failed")
        await money.hold("j5:2", 100)
        await money.post("j5:2", 5, job_state="completed")
        await money.hold("other:1", 100, [project("p2")])
        await money.post("other:1", 7, project_id="p2")

        costs = await GetProjectCosts(GetProjectReport(money.access, money.work))(OWNER, "p1", 0)

        assert (costs.total_cost_nanousd, costs.total_jobs, costs.period_days) == (45, 5, 30)
        assert (costs.completed_jobs, costs.failed_jobs) == (2, 2)
        assert [(day.cost_nanousd, day.jobs) for day in costs.days] == [(45, 5)]

    async def test_nothing_charged(self, money):
        """A project without work has zeros and no days."""
        costs = await GetProjectCosts(GetProjectReport(money.access, money.work))(OWNER, "p1", 1)

        assert (costs.total_cost_nanousd, costs.total_jobs, costs.days) == (0, 0, ())

    @pytest.mark.parametrize("days", [-1, 367])
    async def test_impossible_periods(self, money, days):
        """A period is 1 to 366 days."""
        with pytest.raises(InvalidArgument):
            await GetProjectCosts(GetProjectReport(money.access, money.work))(OWNER, "p1", days)

    async def test_job_cost(self, money):
        """A job's hold at first, then its charge with tokens and target."""
        get_job_cost = GetJobCost(money.access, money.work)
        await money.hold(amount=100)
        before = await get_job_cost(OWNER, "p1", "j1")
        await money.post(
            amount=60, target="local", model="m", tokens_input=3, tokens_output=4, price_version="1"
        )
        after = await get_job_cost(OWNER, "p1", "j1")

        assert (before.settled, before.held_nanousd, before.charged_nanousd) == (False, 100, 0)
        assert (before.price_version, before.settled_at) == ("1", None)
        assert (after.settled, after.held_nanousd, after.charged_nanousd) == (True, 100, 60)
        assert (after.target, after.model) == ("local", "m")
        assert (after.tokens_input, after.tokens_output) == (3, 4)
        assert after.settled_at is not None

    async def test_job_admitted_again(self, money):
        """A job that was retried costs what all its admissions cost, and is open again."""
        await money.hold("j1:9", 100)
        await money.post("j1:9", 60)
        await money.hold("j1:10", 200)

        cost = await GetJobCost(money.access, money.work)(OWNER, "p1", "j1")

        assert (cost.held_nanousd, cost.charged_nanousd, cost.settled) == (200, 60, False)
        assert cost.settled_at is None

    async def test_foreign_job_looks_absent(self, money):
        """Another project's job can't be told from one that never was, held or charged."""
        get_job_cost = GetJobCost(money.access, money.work)
        await money.hold("held:1", 100)
        await money.hold("done:1", 100)
        await money.post("done:1")

        for job_id in ("held", "done", "never"):
            with pytest.raises(JobCostNotFound):
                await get_job_cost(OWNER, "p2", job_id)


class TestListOpenHolds:
    async def test_pages_oldest_first(self, money):
        """Open holds come page by page, oldest first, settled ones not at all."""
        list_open_holds = ListOpenHolds(money.work)
        for number in range(7):
            await money.hold(f"j{number}:1", 1)
        await money.post("j3:1", 1)
        seen, token = [], ""
        while True:
            page, token = await list_open_holds(0, 2, token)
            seen += [hold.hold_id for hold in page]
            if not token:
                break

        assert seen == ["j0:1", "j1:1", "j2:1", "j4:1", "j5:1", "j6:1"]

    async def test_young_holds_are_left_out(self, money):
        """Only holds of at least the age are listed, by the database's clock."""
        await money.hold("old:1", 1)
        await money.hold("new:1", 1)
        await money.connection.execute(
            "UPDATE holds SET created_at = now() - interval '1 hour' WHERE hold_id = 'old:1'"
        )

        page, _ = await ListOpenHolds(money.work)(60, 0, "")

        assert [hold.hold_id for hold in page] == ["old:1"]

    @pytest.mark.parametrize("token", ["x", "bm90IG91cnM"])
    async def test_foreign_page_token(self, money, token):
        """A token that is not ours is refused."""
        with pytest.raises(InvalidArgument):
            await ListOpenHolds(money.work)(0, 0, token)
