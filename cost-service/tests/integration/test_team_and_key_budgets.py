"""Caps of teams and API keys: set, topped up, taken away and set again, while work runs."""

from __future__ import annotations

import asyncio
import json

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from cost_service.adapters.audit_readers import PostgresCostBooks
from cost_service.domain.books import JobBooks
from cost_service.domain.budget import BudgetStatus
from cost_service.domain.errors import BudgetExceeded, BudgetNotSet
from cost_service.domain.ledger_check import check
from cost_service.domain.period import PeriodKind

from .conftest import DEFAULT_TEAM_CAP, api_key, check_books, project, team

MONTHLY, DAILY, TOTAL = PeriodKind
KEY, TEAM = api_key(), team()
WITH_KEY = (project(), KEY)
WITH_TEAM = (project(), TEAM)


def figures(budgets):
    """Return (kind, has_budget, cap, reserved, posted) of each."""
    return [
        (
            one.period_kind,
            one.has_budget,
            one.cap_nanousd,
            one.reserved_nanousd,
            one.posted_nanousd,
        )
        for one in budgets
    ]


async def audited(money):
    """Return (action, subject, details) of what people did, in order."""
    rows = await money.connection.fetch(
        "SELECT action, subject, details FROM audit_entries "
        "WHERE action <> 'budget.default_allocated' ORDER BY entry_id"
    )
    return [(row["action"], row["subject"], json.loads(row["details"])) for row in rows]


class TestApiKey:
    async def test_nothing_set(self, money):
        """A key without caps has a month without a budget, and nothing else."""
        [month] = await money.shown(KEY)

        assert (month.has_budget, month.status) == (False, BudgetStatus.NO_BUDGET_SET)
        assert (month.period_kind, month.scope) == (MONTHLY, KEY)

    async def test_daily_alone(self, money):
        """The month comes first, also where only a day is set."""
        await money.set_budget(50, KEY, DAILY)

        assert figures(await money.shown(KEY)) == [
            (MONTHLY, False, 0, 0, 0),
            (DAILY, True, 50, 0, 0),
        ]

    @pytest.mark.parametrize("kind", PeriodKind)
    async def test_cap_holds_and_goes(self, money, database, kind):
        """Set while work runs, it bounds what comes; taken away, nothing; set again, it goes on.

        Holds from before it are not in it, and those of its time are settled in it throughout.
        """
        await money.hold("before:1", 500, WITH_KEY)
        await money.set_budget(100, KEY, kind)
        await money.hold("under:1", 60, WITH_KEY)
        with pytest.raises(BudgetExceeded) as refused:
            await money.hold("over:1", 41, WITH_KEY)
        assert (refused.value.metadata["scope_kind"], refused.value.metadata["scope_id"]) == (
            "api_key",
            "k1",
        )
        assert refused.value.message == (
            f"The {kind} budget of api key k1 had $0.00000004 left, and this request may cost up "
            "to $0.000000041: an owner or manager of the key's project can raise or top it up."
        )

        await money.clear(KEY, kind)
        assert figures(await money.shown(KEY)) == [(MONTHLY, False, 0, 0, 0)]
        await money.hold("between:1", 41, WITH_KEY)
        await money.post("before:1", 500, WITH_KEY)
        await money.post("under:1", 50, WITH_KEY)
        await check_books(database)

        again = await money.set_budget(70, KEY, kind)
        assert (again.reserved_nanousd, again.posted_nanousd) == (0, 50)
        with pytest.raises(BudgetExceeded):
            await money.hold("over:2", 21, WITH_KEY)
        await money.hold("exact:1", 20, WITH_KEY)
        await money.post("between:1", 41, WITH_KEY)
        assert await money.budget("k1", kind) == (70, 20, 50)
        await check_books(database)

    async def test_set_again_under_an_open_hold(self, money, database):
        """A hold from before it was taken away still counts when it is set again."""
        await money.set_budget(100, KEY)
        await money.hold("j1:1", 60, WITH_KEY)
        await money.clear(KEY)
        await money.set_budget(80, KEY)

        with pytest.raises(BudgetExceeded):
            await money.hold("j2:1", 21, WITH_KEY)
        await money.void("j1:1", WITH_KEY)
        await money.hold("j2:1", 80, WITH_KEY)
        assert await money.budget("k1") == (80, 80, 0)
        await check_books(database)

    async def test_no_alert_of_a_cap_that_is_gone(self, money):
        """What was held under a cap tells nothing once the cap was taken away."""
        await money.set_budget(100, KEY)
        await money.hold("j1:1", 96, WITH_KEY)
        await money.clear(KEY)
        await money.post("j1:1", 96, WITH_KEY)
        assert (await money.alerts(KEY))[0] == ()

        await money.set_budget(100, KEY)
        await money.hold("j2:1", 4, WITH_KEY)
        await money.post("j2:1", 4, WITH_KEY)

        [alert] = (await money.alerts(KEY))[0]
        assert (alert.scope, alert.level, alert.posted_nanousd) == (
            KEY,
            BudgetStatus.EXCEEDED,
            100,
        )
        assert (await money.alerts("p1"))[0] == ()

    async def test_takes_nothing_from_an_allowance(self, money):
        """A key's cap gives no money, so it may be more than its project has."""
        await money.set_budget(10**6, KEY)
        await money.top_up(5, "r1", KEY)

        assert await money.value("SELECT count(*) FROM allowances") == 0
        assert (await money.budget("k1"))[0] == 10**6 + 5

    async def test_top_up_once(self, money):
        """A request id adds once to one key, is free for another, and needs a cap that is set."""
        await money.set_budget(10, KEY)
        first = await money.top_up(5, "r1", KEY)

        assert await money.top_up(5, "r1", KEY) == first
        with pytest.raises(BudgetNotSet):
            await money.top_up(5, "r1", api_key("k2"))
        with pytest.raises(BudgetNotSet):
            await money.top_up(5, "r2", KEY, DAILY)

    async def test_audited(self, money):
        """Who looks for what was done to a key finds it by the key, each change once."""
        await money.set_budget(10, KEY)
        await money.top_up(5, "r1", KEY)
        for _ in range(2):
            await money.clear(KEY)

        assert await audited(money) == [
            (
                "budget.set",
                "api key k1",
                {"period_kind": "monthly", "before_nanousd": 0, "cap_nanousd": 10},
            ),
            (
                "budget.topped_up",
                "api key k1",
                {"period_kind": "monthly", "amount_nanousd": 5, "cap_nanousd": 15},
            ),
            ("budget.cleared", "api key k1", {"period_kind": "monthly", "before_nanousd": 15}),
        ]


class TestTeam:
    async def test_default_before_and_after_the_first_hold(self, money):
        """A team that never worked is shown with what will bound it, and so it does."""
        before = await money.shown(TEAM)
        assert figures(before) == [(MONTHLY, True, DEFAULT_TEAM_CAP, 0, 0)]
        assert await money.value("SELECT count(*) FROM budgets") == 0

        await money.hold("j1:1", 100, WITH_TEAM)

        assert figures(await money.shown(TEAM)) == [(MONTHLY, True, DEFAULT_TEAM_CAP, 100, 0)]

    async def test_default_after_a_charge_without_a_hold(self, money):
        """A charge of which no hold is known counts, below the default cap as well."""
        await money.post("lost:1", 60, WITH_TEAM)

        assert figures(await money.shown(TEAM)) == [(MONTHLY, True, DEFAULT_TEAM_CAP, 0, 60)]

    @pytest.mark.parametrize("worked", [False, True])
    async def test_cleared_month_has_the_default(self, money, database, worked):
        """Without its own cap a team has the default again at once, with what it spent."""
        if worked:
            await money.hold("j0:1", 60, WITH_TEAM)
        await money.set_budget(70, TEAM)
        await money.hold("j1:1", 10, WITH_TEAM)

        await money.clear(TEAM)

        spent = 70 if worked else 10
        assert figures(await money.shown(TEAM)) == [(MONTHLY, True, DEFAULT_TEAM_CAP, spent, 0)]
        assert await money.budget("t1") == (DEFAULT_TEAM_CAP, spent, 0)
        await money.hold("j2:1", 100, WITH_TEAM)
        await money.post("j1:1", 10, WITH_TEAM)
        assert await money.budget("t1") == (DEFAULT_TEAM_CAP, spent + 90, 10)
        await check_books(database)

    async def test_cleared_twice(self, money):
        """Taking away what is the default already is no event."""
        await money.clear(TEAM)
        await money.set_budget(70, TEAM)
        for _ in range(2):
            await money.clear(TEAM)

        assert [action for action, _, _ in await audited(money)] == [
            "budget.set",
            "budget.cleared",
        ]

    async def test_top_up_of_the_default(self, money, database):
        """What holds can be added to, whether the team ever worked or not."""
        await money.post("lost:1", 60, WITH_TEAM)
        budget = await money.top_up(5, "r1", TEAM)

        assert (budget.cap_nanousd, budget.posted_nanousd) == (DEFAULT_TEAM_CAP + 5, 60)
        await check_books(database)

    async def test_day_and_total_have_no_default(self, money, database):
        """They bound where they are set, and go as those of a project do."""
        for kind in (DAILY, TOTAL):
            await money.set_budget(50, TEAM, kind)
            with pytest.raises(BudgetExceeded):
                await money.hold(f"{kind}:1", 51, WITH_TEAM)
            await money.clear(TEAM, kind)
            await money.hold(f"{kind}:1", 51, WITH_TEAM)

        assert [one.period_kind for one in await money.shown(TEAM)] == [MONTHLY]
        await check_books(database)


class TestChecker:
    async def test_caps_of_teams_and_keys(self, money, database):
        """A row of today that lost its cap is found for teams and keys too; a cleared one not."""
        await money.set_budget(10, TEAM)
        await money.set_budget(20, TEAM, TOTAL)
        await money.set_budget(30, KEY)
        await money.set_budget(40, KEY, DAILY)
        await money.set_budget(50, api_key("gone"))
        await money.clear(api_key("gone"))
        await money.set_budget(60, team("bare"))
        await money.clear(team("bare"))
        await money.connection.execute("UPDATE budgets SET cap_nanousd = 7")

        books = await PostgresCostBooks(SecretStr(database)).read()
        found = check([], books, JobBooks(), max_age_seconds=60).drifts

        assert [(one.rule, one.subject.split()[0], one.detail) for one in found] == [
            ("cap_is_as_set", "team", "cap 7, set 10"),
            ("cap_is_as_set", "team", "cap 7, set 20"),
            ("cap_is_as_set", "api_key", "cap 7, set 30"),
            ("cap_is_as_set", "api_key", "cap 7, set 40"),
            ("cap_is_as_set", "team", f"cap 7, set {DEFAULT_TEAM_CAP}"),
        ]


@pytest.mark.parametrize(
    ("whose", "named"),
    [("p1", {"project_id": "p1"}), (TEAM, {"team_id": "t1"}), (KEY, {"api_key_id": "k1"})],
    ids=["project", "team", "api_key"],
)
async def test_logged_by_whose_it_is(money, whose, named):
    """Each change is logged with the id of its project, team or key, and no other."""
    with capture_logs() as logs:
        await money.set_budget(10, whose, DAILY)
        await money.top_up(5, "r1", whose, DAILY)
        await money.clear(whose, DAILY)

    assert [line["event"] for line in logs] == [
        "budget.set",
        "budget.topped_up",
        "budget.cleared",
    ]
    for line in logs:
        ids = {name: value for name, value in line.items() if name.endswith("_id")}
        assert named.items() <= ids.items()
        assert len(ids.keys() & {"project_id", "team_id", "api_key_id"}) == 1


async def test_top_ups_of_a_new_team_at_once(money, database):
    """Twenty at once on a team nobody used: each adds to the default, none is lost."""
    await asyncio.gather(*(money.top_up(1, f"r{number}", TEAM) for number in range(20)))

    assert (await money.budget("t1"))[0] == DEFAULT_TEAM_CAP + 20
    await check_books(database)
