"""Whatever happens in whatever order, the books agree with a simple model of them."""

from __future__ import annotations

import asyncio
from collections import Counter

import asyncpg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from cost_service.domain.errors import (
    AllowanceExceeded,
    BudgetExceeded,
    BudgetNotSet,
    HoldSettled,
    NoBudget,
)
from cost_service.domain.period import PeriodKind
from service_kit.database import open_engine

from .conftest import (
    DEFAULT_ALLOWANCE,
    DEFAULT_CAP,
    DEFAULT_TEAM_CAP,
    Money,
    api_key,
    check_books,
    empty,
    project,
    team,
)

SCOPES = {
    "default": project("default"),
    "team": team("team"),
    "plain": project("plain", default=False),
    "key": api_key("key"),
}
PROJECTS = ("default", "plain")
MONTH, DAY, TOTAL = PeriodKind

hold_ids = st.sampled_from([f"j{job}:{admission}" for job in range(4) for admission in (1, 2)])
amounts = st.one_of(st.sampled_from([1, 2, 333, DEFAULT_CAP, DEFAULT_CAP + 1]), st.integers(1, 700))
# A hold names a project or a team.
scope_sets = st.sets(st.sampled_from(sorted(SCOPES)), min_size=1).filter(
    lambda names: names != {"key"}
)
# Every cap but those that come out of an allowance.
tightening = st.sampled_from(
    [
        (name, kind)
        for name in SCOPES
        for kind in PeriodKind
        if name not in PROJECTS or kind is not MONTH
    ]
)


class Books:
    """The rules in their plainest form. A budget is known by (name, kind of period)."""

    def __init__(self) -> None:
        self.caps: dict[tuple[str, PeriodKind], int] = {}
        self.holds: dict[str, tuple[str, int, frozenset[tuple[str, PeriodKind]]]] = {}
        self.posted: Counter[tuple[str, PeriodKind]] = Counter()

    def reserved(self, budget: tuple[str, PeriodKind]) -> int:
        return sum(
            amount
            for state, amount, budgets in self.holds.values()
            if state == "held" and budget in budgets
        )

    def spent(self, budget: tuple[str, PeriodKind]) -> int:
        return self.reserved(budget) + self.posted[budget]

    def claimed(self) -> int:
        """What is allocated, or spent where that is more: nobody's month ends here."""
        return sum(
            max(self.caps[name, MONTH], self.spent((name, MONTH)))
            for name in PROJECTS
            if (name, MONTH) in self.caps
        )

    def cap_of(self, budget: tuple[str, PeriodKind]) -> int | None:
        return self.caps.get(budget, DEFAULT_TEAM_CAP if budget == ("team", MONTH) else None)

    def bounds(self, names: set[str]) -> frozenset[tuple[str, PeriodKind]]:
        return frozenset(budget for budget in self.caps if budget[0] in names)

    def hold(self, hold_id: str, names: set[str], amount: int) -> type[Exception] | None:
        if hold_id in self.holds:
            return None if self.holds[hold_id][0] == "held" else HoldSettled
        left = max(0, DEFAULT_ALLOWANCE - self.claimed())
        if "default" in names and ("default", MONTH) not in self.caps and left:
            self.caps["default", MONTH] = min(DEFAULT_CAP, left)
        if "team" in names:
            self.caps.setdefault(("team", MONTH), DEFAULT_TEAM_CAP)
        if any((name, MONTH) not in self.caps for name in names - {"key"}):
            return NoBudget
        bounds = self.bounds(names)
        if any(self.spent(budget) + amount > self.caps[budget] for budget in bounds):
            return BudgetExceeded
        self.holds[hold_id] = ("held", amount, bounds)
        return None

    def settle(self, hold_id: str, state: str, amount: int, names: set[str]) -> bool:
        found = self.holds.get(hold_id)
        if found and found[0] != "held":
            return False
        charged = min(amount, found[1]) if found else amount
        if state == "posted":
            unknown = self.bounds(names) | {(name, MONTH) for name in names - {"key"}}
            self.posted.update(dict.fromkeys(found[2] if found else unknown, charged))
        self.holds[hold_id] = (state, charged, frozenset())
        return True

    def set_budget(self, name: str, cap: int) -> type[Exception] | None:
        before = self.caps.get((name, MONTH), 0)
        spent = self.spent((name, MONTH)) if (name, MONTH) in self.caps else 0
        total = self.claimed() - max(before, spent) + max(cap, spent)
        if cap > before and total > DEFAULT_ALLOWANCE:
            return AllowanceExceeded
        self.caps[name, MONTH] = cap
        return None


class LedgerMachine(RuleBasedStateMachine):
    """Does everything to the real service and to the model, and compares."""

    database = ""
    superuser_url = ""

    def __init__(self) -> None:
        super().__init__()
        self.books = Books()
        self.runner = asyncio.Runner()
        self.run = self.runner.run
        self.run(self._open())

    async def _open(self) -> None:
        await empty(self.superuser_url)
        self.engine = open_engine(self.database, application_name="test")
        self.connection = await asyncpg.connect(self.database)
        self.money = Money(self.engine, self.connection)

    async def _close(self) -> None:
        await self.connection.close()
        await self.engine.dispose()

    def teardown(self) -> None:
        self.run(check_books(self.database))
        self.run(self._close())
        self.runner.close()

    def refused(self, call):
        try:
            self.run(call)
        except (AllowanceExceeded, BudgetExceeded, BudgetNotSet, HoldSettled, NoBudget) as error:
            return type(error)
        return None

    @rule(hold_id=hold_ids, names=scope_sets, amount=amounts)
    def hold(self, hold_id, names, amount):
        scopes = [SCOPES[name] for name in names]
        expected = self.books.hold(hold_id, names, amount)
        assert self.refused(self.money.hold(hold_id, amount, scopes)) == expected

    @rule(hold_id=hold_ids, names=scope_sets, amount=st.one_of(st.just(0), amounts))
    def post(self, hold_id, names, amount):
        scopes = [SCOPES[name] for name in names]
        expected = self.books.settle(hold_id, "posted", amount, names)
        assert self.run(self.money.post(hold_id, amount, scopes)) == expected

    @rule(hold_id=hold_ids)
    def void(self, hold_id):
        expected = self.books.settle(hold_id, "voided", 0, set())
        assert self.run(self.money.void(hold_id)) == expected

    @rule(name=st.sampled_from(["default", "plain"]), cap=st.integers(0, DEFAULT_ALLOWANCE))
    def set_budget(self, name, cap):
        expected = self.books.set_budget(name, cap)
        assert self.refused(self.money.set_budget(cap, name)) == expected

    @rule(budget=tightening, cap=amounts)
    def tighten(self, budget, cap):
        name, kind = budget
        self.books.caps[budget] = cap
        self.run(self.money.set_budget(cap, SCOPES[name], kind))

    @rule(budget=tightening, amount=amounts)
    def top_up(self, budget, amount):
        name, kind = budget
        before = self.books.cap_of(budget)
        expected = BudgetNotSet if before is None else None
        if before is not None:
            self.books.caps[budget] = before + amount
        assert self.refused(self.money.top_up(amount, "", SCOPES[name], kind)) == expected

    @rule(budget=tightening)
    def loosen(self, budget):
        name, kind = budget
        self.books.caps.pop(budget, None)
        if budget == ("team", MONTH):
            self.books.caps[budget] = DEFAULT_TEAM_CAP
        self.run(self.money.clear(SCOPES[name], kind))

    @invariant()
    def budgets_agree(self):
        rows = self.run(self.connection.fetch("SELECT * FROM budgets"))
        found = {(row["scope_id"], PeriodKind(row["period_kind"])): row for row in rows}
        for budget in [(name, kind) for name in SCOPES for kind in PeriodKind]:
            row = found.get(budget)
            reserved, posted = (row["reserved_nanousd"], row["posted_nanousd"]) if row else (0, 0)
            assert (reserved, posted) == (self.books.reserved(budget), self.books.posted[budget])
            if row and budget in self.books.caps:
                assert row["cap_nanousd"] == self.books.caps[budget]


@pytest.mark.timeout(170)
def test_any_history(migrated_database, kept_database):
    """Holds, posts, voids and budgets in any order do what the model does, to the nano-USD."""
    LedgerMachine.database = kept_database
    LedgerMachine.superuser_url = migrated_database.superuser_url(kept_database)
    run_state_machine_as_test(
        LedgerMachine,
        settings=settings(
            max_examples=15,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
