"""What may happen at once, happens at once. Each race is run often, on a real Postgres."""

from __future__ import annotations

import asyncio
import random

import pytest

from cost_service.domain.budget import Budget
from cost_service.domain.errors import AllowanceExceeded, BudgetExceeded, HoldSettled, NoBudget
from cost_service.domain.period import PeriodKind

from .conftest import DEFAULT_ALLOWANCE, SCALE, api_key, check_books, project, team

# WEIR_TEST_SCALE=20 for the hundred rounds of the fault list.
ROUNDS = 5 * SCALE
SEED = 20261122


async def outcomes(calls):
    """Run the calls at once; return what each returned or raised."""
    return await asyncio.gather(*calls, return_exceptions=True)


def count(results, kind):
    return sum(isinstance(result, kind) for result in results)


def surprises(results, *expected):
    return [
        result
        for result in results
        if isinstance(result, BaseException) and not isinstance(result, expected)
    ]


class TestRaces:
    async def test_never_more_than_the_cap(self, money, database):
        """Of 100 holds at once with room for 50, exactly 50 are placed, whichever cap is tight.

        Each hold counts in five budgets, of a project, its team and a key, by day, month and in
        total; in each round another one of them has the room for 50.
        """
        for number in range(ROUNDS):
            scopes = [
                project(f"p{number}", default=False),
                team(f"t{number}"),
                api_key(f"k{number}"),
            ]
            bounds = [
                (scopes[0], PeriodKind.MONTHLY),
                (scopes[0], PeriodKind.DAILY),
                (scopes[0], PeriodKind.TOTAL),
                (scopes[1], PeriodKind.MONTHLY),
                (scopes[2], PeriodKind.DAILY),
            ]
            tight = number % len(bounds)
            await money.connection.execute("UPDATE allowances SET amount_nanousd = 1000000")
            for place, (scope, kind) in enumerate(bounds):
                await money.set_cap(scope, (50 if place == tight else 70) * 7, kind)

            results = await outcomes(
                money.hold(f"r{number}j{job}:1", 7, scopes) for job in range(100)
            )

            assert surprises(results, BudgetExceeded) == []
            refused = [one.metadata for one in results if isinstance(one, BudgetExceeded)]
            assert len(refused) == 50
            assert {(one["scope_id"], one["period_kind"]) for one in refused} == {
                (bounds[tight][0].scope_id, bounds[tight][1])
            }
            for scope, kind in bounds:
                _, reserved, posted = await money.budget(scope.scope_id, kind)
                assert (reserved, posted) == (350, 0)
        await check_books(database)

    async def test_key_with_the_least_room(self, money, database):
        """X-M1: of 100 holds at once on project, team and key, the key's cap admits its 50."""
        scopes = [project("p1", default=False), team("t1"), api_key("k1")]
        for whose, room in (("p1", 80), (scopes[1], 70), (scopes[2], 50)):
            await money.set_budget(room * 7, whose)

        results = await outcomes(money.hold(f"j{job}:1", 7, scopes) for job in range(100))

        assert surprises(results, BudgetExceeded) == []
        refused = [one.metadata["scope_id"] for one in results if isinstance(one, BudgetExceeded)]
        assert refused == ["k1"] * 50
        for scope in scopes:
            assert (await money.budget(scope.scope_id))[1:] == (350, 0)
        await check_books(database)

    async def test_holds_against_changes_of_a_keys_cap(self, money, database):
        """A cap that is lowered, taken away or set while holds come in is kept from then on.

        What the change found reserved may be beyond the new cap; nothing is added to that.
        """
        shuffled = random.Random(SEED)
        await money.connection.execute(
            "INSERT INTO allowances (user_id, amount_nanousd) VALUES ('owner-1', 1000000)"
        )
        await money.set_budget(1_000_000)
        for number in range(ROUNDS + 1):
            key = api_key(f"k{number}")
            scopes = [project(), key]
            if number % 3:
                await money.set_budget(700, key)
            change = money.clear(key) if number % 3 == 1 else money.set_budget(140, key)
            hold_ids = [f"r{number}j{job}:1" for job in range(30)]
            calls = [money.hold(hold_id, 7, scopes) for hold_id in hold_ids]
            at = shuffled.randrange(30)
            calls.insert(at, change)

            results = await outcomes(calls)

            assert surprises(results, BudgetExceeded) == []
            row = await money.budget(key.scope_id)
            found = [one for one in results if isinstance(one, Budget)]
            if found:
                assert row[0] == 140
                assert row[1] <= max(140, found[0].reserved_nanousd)
            else:
                assert count(results, BudgetExceeded) == 0
            del results[at]
            voided = await outcomes(
                money.void(hold_id, scopes)
                for hold_id, result in zip(hold_ids, results, strict=True)
                if not isinstance(result, BaseException)
            )
            assert surprises(voided) == []
            assert (await money.budget(key.scope_id))[1] == 0
        await check_books(database)

    async def test_first_requests_ever(self, money, database):
        """Where no row exists yet, the defaults apply to the very first requests, once."""
        for number in range(ROUNDS):
            await money.connection.execute(
                "UPDATE allowances SET amount_nanousd = amount_nanousd + 1000"
            )
            scopes = [project(f"p{number}"), team(f"t{number}")]

            results = await outcomes(
                money.hold(f"r{number}j{job}:1", 100, scopes) for job in range(20)
            )

            assert surprises(results, BudgetExceeded) == []
            assert count(results, BudgetExceeded) == 10
            assert await money.budget(f"p{number}") == (1000, 1000, 0)
            assert await money.budget(f"t{number}") == (4000, 1000, 0)
        assert await money.value("SELECT allocated_nanousd FROM allowances") == ROUNDS * 1000
        await check_books(database)

    async def test_defaults_share_one_allowance(self, money, database):
        """Many default projects of one owner at once never get more than the allowance."""
        results = await outcomes(
            money.hold(f"j{number}:1", 1, [project(f"p{number}")]) for number in range(30)
        )

        assert surprises(results, NoBudget) == []
        assert count(results, NoBudget) == 20
        assert await money.value("SELECT allocated_nanousd FROM allowances") == DEFAULT_ALLOWANCE
        await check_books(database)

    async def test_same_hold_many_times(self, money, database):
        """One hold asked for 30 times at once is reserved once, and all get the same answer."""
        results = await outcomes(money.hold("j1:1", 100) for _ in range(30))

        assert surprises(results) == []
        assert len(set(results)) == 1
        assert await money.budget() == (1000, 100, 0)
        await check_books(database)

    async def test_post_against_void(self, money, database):
        """A post and a void at once: one of them is booked, never both."""
        await money.set_budget(10_000)
        for number in range(ROUNDS * 5):
            hold_id = f"j{number}:1"
            await money.hold(hold_id, 100)

            results = await outcomes(
                [money.post(hold_id, 1), money.void(hold_id), money.post(hold_id, 1)]
            )

            assert sorted(results) == [False, False, True]
        _, reserved, posted = await money.budget()
        posts = await money.value("SELECT count(*) FROM ledger WHERE kind = 'post'")
        assert (reserved, posted) == (0, posts)
        await check_books(database)

    @pytest.mark.parametrize("end", ["void", "post"])
    async def test_hold_against_its_end(self, money, database, end):
        """A hold that races its own end is placed and ended, or never placed: nothing stays."""
        await money.set_budget(10_000)
        for number in range(ROUNDS * 5):
            hold_id = f"j{number}:1"

            results = await outcomes([money.hold(hold_id, 50), getattr(money, end)(hold_id)])

            assert surprises(results, HoldSettled) == []
            assert results[1] is True
            assert (await money.budget())[1] == 0
        await check_books(database)

    async def test_everything_twice(self, money, database):
        """Each call delivered twice, in any order, leaves what one delivery would."""
        shuffled = random.Random(SEED)
        await money.set_budget(10_000)
        calls = []
        for number in range(60):
            hold_id = f"j{number}:1"
            await money.hold(hold_id, 100)
            calls += [money.hold(hold_id, 100) for _ in range(2)]
            calls += [money.post(hold_id, 10) for _ in range(2)]
        shuffled.shuffle(calls)

        results = await outcomes(calls)

        assert surprises(results, HoldSettled) == []
        assert await money.budget() == (10_000, 0, 600)
        await check_books(database)

    async def test_several_scopes_never_deadlock(self, money, database):
        """Holds, ends and new caps over the same scopes in any order: nobody waits in a circle."""
        shuffled = random.Random(SEED)
        projects = [project(), project("p2")]
        scopes = [*projects, team("t1"), team("t2"), api_key()]
        for scope in scopes:
            await money.set_cap(scope, 2_000, PeriodKind.DAILY)
        await money.set_cap(api_key(), 2_000, PeriodKind.TOTAL)

        async def job(number):
            some = {scope.key: scope for scope in shuffled.sample(scopes, k=shuffled.randint(1, 4))}
            needed = shuffled.choice(projects)
            some = list({**some, needed.key: needed}.values())
            shuffled.shuffle(some)
            await money.hold(f"j{number}:1", 5, some)
            shuffled.shuffle(some)
            # Every tenth charge comes as if its hold had been lost.
            return await money.post(f"j{number}:{1 + (number % 10 == 5)}", 3, some)

        def change(number):
            whose = shuffled.choice(["p1", "p2", team("t1"), api_key()])
            kind = shuffled.choice(list(PeriodKind)[:2])
            return money.set_budget(2_000 + number, whose, kind)

        results = await outcomes(
            change(number) if number % 10 == 0 else job(number) for number in range(200)
        )

        assert surprises(results) == []
        assert await money.value("SELECT count(*) FROM ledger WHERE kind = 'post'") == 180
        await check_books(database)

    async def test_budgets_within_the_allowance(self, money, database):
        """Budgets set at once for several projects together stay within the allowance."""
        results = await outcomes(money.set_budget(3_000, f"p{number}") for number in range(10))

        assert len(surprises(results)) == 7
        assert await money.value("SELECT allocated_nanousd FROM allowances") == 9_000
        await check_books(database)

    async def test_moving_the_allowance_while_it_is_spent(self, money, database):
        """Caps moved between projects while both spend: never more is spent than allowed."""
        shuffled = random.Random(SEED)
        await money.set_budget(DEFAULT_ALLOWANCE, "p0")
        await money.set_budget(0, "p1")
        for number in range(4 * ROUNDS):
            calls = [
                money.hold(f"r{number}j{job}:1", 150, [project(f"p{job % 2}")]) for job in range(10)
            ]
            calls += [
                money.set_budget(cap, name)
                for name in ("p0", "p1")
                for cap in (0, DEFAULT_ALLOWANCE // 2, DEFAULT_ALLOWANCE)
            ]
            shuffled.shuffle(calls)

            results = await outcomes(calls)

            assert surprises(results, AllowanceExceeded, BudgetExceeded) == []
            spent = await money.value("SELECT sum(reserved_nanousd + posted_nanousd) FROM budgets")
            assert spent <= DEFAULT_ALLOWANCE
        assert spent > DEFAULT_ALLOWANCE // 2
        await check_books(database)
