"""Alerts at 80, 95 and 100 % of a cap: once for each crossing, with the charge that crosses."""

from __future__ import annotations

import asyncio

import pytest

from cost_service.domain.period import PeriodKind
from service_kit.errors import InvalidArgument

from .conftest import api_key, check_books, project, team


async def alerts(money):
    """Return (scope, period kind, level, cap, posted) of all alerts, in order."""
    rows = await money.connection.fetch(
        "SELECT scope_id, period_kind, level, a.cap_nanousd, a.posted_nanousd "
        "FROM budget_alerts a JOIN budgets USING (budget_id) ORDER BY alert_id"
    )
    return [tuple(row) for row in rows]


async def spend(money, amount, **scopes):
    """Hold and charge an amount; return the hold."""
    hold_id = f"j{await money.value('SELECT count(*) FROM holds')}:1"
    await money.hold(hold_id, amount, **scopes)
    await money.post(hold_id, amount, **scopes)
    return hold_id


class TestCrossing:
    async def test_each_level_once(self, money):
        """The charge that reaches a level tells it; those around it tell nothing."""
        await money.set_budget(1000)
        for amount in (799, 1, 1, 148, 1, 49, 1):
            await spend(money, amount)

        assert await alerts(money) == [
            ("p1", "monthly", "warning", 1000, 800),
            ("p1", "monthly", "critical", 1000, 950),
            ("p1", "monthly", "exceeded", 1000, 1000),
        ]
        for level in ("warning", "critical", "exceeded"):
            assert money.metric("budget_alerts_total", level=level) == 1

    async def test_all_levels_by_one_charge(self, money):
        """A charge that goes from nothing to everything crosses all three."""
        await money.set_budget(1)
        await spend(money, 1)

        assert [level for _, _, level, _, _ in await alerts(money)] == [
            "warning",
            "critical",
            "exceeded",
        ]

    async def test_fifty_at_once(self, money, database):
        """Of 50 charges at once of which one must cross a level, exactly one tells it."""
        await money.set_budget(1000)
        for number in range(50):
            await money.hold(f"r{number}:1", 18)

        await asyncio.gather(*(money.post(f"r{number}:1", 18) for number in range(50)))

        assert await alerts(money) == [("p1", "monthly", "warning", 1000, 810)]
        assert money.metric("budget_alerts_total", level="warning") == 1
        await check_books(database)

    async def test_holds_tell_nothing(self, money):
        """What is only held, or let go, is not spent."""
        await money.set_budget(1000)
        await money.hold(amount=1000)
        await money.void()

        assert await alerts(money) == []

    async def test_settled_again(self, money):
        """A settlement that comes twice tells once."""
        await money.set_budget(1000)
        hold_id = await spend(money, 850)

        assert await money.post(hold_id, 850) is False
        assert len(await alerts(money)) == 1

    async def test_charge_without_a_hold(self, money):
        """Where the hold is unknown the charge still counts, and tells."""
        await money.set_budget(1000)

        await money.post("lost:1", 960)

        assert [level for _, _, level, _, _ in await alerts(money)] == ["warning", "critical"]

    async def test_each_scope_and_period_by_itself(self, money):
        """A charge belongs to several budgets; each tells of its own cap."""
        await money.set_budget(1000)
        await money.set_budget(100, period_kind=PeriodKind.DAILY)
        await money.set_cap(team(), 106)
        await money.set_cap(api_key(), 1000, PeriodKind.TOTAL)

        await spend(money, 85, scopes=[project(), team(), api_key()])

        assert await alerts(money) == [
            ("p1", "daily", "warning", 100, 85),
            ("t1", "monthly", "warning", 106, 85),
        ]


class TestRearming:
    async def test_cap_raised_past_the_level(self, money):
        """A cap so high that the level is not reached any more makes it count anew."""
        await money.set_budget(100)
        await spend(money, 85)
        await money.set_budget(200)
        await spend(money, 75)

        assert await alerts(money) == [
            ("p1", "monthly", "warning", 100, 85),
            ("p1", "monthly", "warning", 200, 160),
        ]

    async def test_cap_raised_a_little(self, money):
        """A cap of which as much is spent after the raise has nothing new to tell."""
        await money.set_budget(100)
        await spend(money, 85)
        await money.set_budget(101)
        await spend(money, 1)

        assert len(await alerts(money)) == 1

    async def test_lowered_cap(self, money):
        """Who lowers a cap sees what that means; only a charge tells, at the next level."""
        await money.set_budget(100)
        await spend(money, 50)
        await money.set_budget(60)
        await spend(money, 1)
        assert await alerts(money) == []

        await spend(money, 6)

        assert await alerts(money) == [("p1", "monthly", "critical", 60, 57)]

    async def test_around_a_level(self, money):
        """Going below a level and over it again, at the same cap, tells nothing new."""
        await money.set_budget(100)
        await spend(money, 85)
        await money.connection.execute("UPDATE budgets SET posted_nanousd = 70")
        await spend(money, 12)

        assert len(await alerts(money)) == 1


class TestListBudgetAlerts:
    async def test_pages_newest_first(self, money):
        """A project's own alerts come page by page, the newest first."""
        await money.set_budget(1)
        await money.set_budget(10, "p2")
        await spend(money, 1)
        await spend(money, 8, scopes=[project("p2")])

        first, token = await money.alerts("p1", 2)
        rest, end = await money.alerts("p1", 2, token)

        assert [alert.level for alert in (*first, *rest)] == ["exceeded", "critical", "warning"]
        assert (rest[0].cap_nanousd, rest[0].posted_nanousd, end) == (1, 1, "")
        with pytest.raises(InvalidArgument):
            await money.alerts("p2", 2, token)
