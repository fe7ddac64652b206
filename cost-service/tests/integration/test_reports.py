"""Reports, exports and what suggestions are made from, on a real Postgres."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cost_service.domain.budget_scope import BudgetScope, BudgetScopeKind
from cost_service.domain.cost_reports import CostSums
from cost_service.domain.report_days import DayRange
from cost_service.domain.suggestions import SuggestionKind, WorkFacts
from cost_service.usecases.export_ledger import PAGE, ExportLedger
from cost_service.usecases.get_platform_report import GetPlatformReport
from cost_service.usecases.get_project_report import GetProjectReport
from cost_service.usecases.get_suggestions import GetSuggestions
from cost_service.usecases.get_team_report import GetTeamReport
from service_kit.clock import SystemClock
from service_kit.errors import InvalidArgument

from .conftest import ADMIN, OWNER, project

TEXTS = ("kind", "job_id", "project_id", "job_state", "target", "model", "price_version")
MORE_TEXTS = ("job_type", "team_id", "api_key_id", "hold_id", "request_id")
NUMBERS = ("amount_nanousd", "tokens_input", "tokens_output", "provider_cost_nanousd")
TYPES = {
    **dict.fromkeys((*TEXTS, *MORE_TEXTS), "text"),
    **dict.fromkeys((*NUMBERS, "complexity", "complexity_threshold"), "bigint"),
    "created_at": "timestamptz",
    "finished_at": "timestamptz",
}


async def book(money, *entries):
    """Add entries to the ledger as they are; what is not said is that of a local chat."""
    rows = []
    for number, given in enumerate(entries):
        kind = given.get("kind", "post")
        job_id = given.get("job_id", f"j{number}")
        rows.append(
            {
                "kind": kind,
                "project_id": "p1",
                "job_state": "completed",
                "target": "local",
                "model": "m1",
                "price_version": "1",
                "job_type": "chat_completion",
                "team_id": "",
                "api_key_id": "",
                "hold_id": f"{job_id}:1",
                "request_id": None if kind in ("post", "void") else f"{kind}-{job_id}",
                "amount_nanousd": 0 if kind == "void" else 10,
                "tokens_input": 1,
                "tokens_output": 2,
                "provider_cost_nanousd": 0,
                "complexity": None,
                "complexity_threshold": None,
                "created_at": datetime.now(UTC) - timedelta(minutes=1),
                "finished_at": None,
                **given,
                "job_id": job_id,
            }
        )
    columns = ", ".join(TYPES)
    arrays = ", ".join(f"${at}::{kind}[]" for at, kind in enumerate(TYPES.values(), 1))
    await money.connection.execute(
        f"""INSERT INTO ledger ({columns}, budget_ids, period, usage_source)
            SELECT *, '{{}}', '2026-11', 'reported' FROM unnest({arrays})""",
        *([row[name] for row in rows] for name in TYPES),
    )


async def report_of(money, project_id="p1", days=30):
    return (await GetProjectReport(money.access, money.work)(OWNER, project_id, days))[1]


def named(shares):
    return {one.name: (one.sums.cost_nanousd, one.sums.jobs) for one in shares}


class TestSettlementsTellMore:
    async def test_outcome_is_kept(self, money):
        """A settlement's job type, complexity, team and key are in the ledger."""
        scopes = [
            project(),
            BudgetScope(BudgetScopeKind.TEAM, "t1", "owner-1", True),
            BudgetScope(BudgetScopeKind.API_KEY, "k1"),
        ]
        await money.hold(scopes=scopes)
        more = {"job_type": "embedding", "complexity": 7, "complexity_threshold": 100}
        await money.post(scopes=scopes, **more)
        await money.post("unknown:1", scopes=scopes, **more)

        rows = await money.connection.fetch(
            "SELECT job_type, complexity, complexity_threshold, team_id, api_key_id FROM ledger"
        )
        assert [tuple(row) for row in rows] == [("embedding", 7, 100, "t1", "k1")] * 2

    async def test_what_is_not_told_is_empty(self, money):
        """A settlement from before is booked as ever, and its complexity is unknown."""
        await money.hold()
        await money.post()

        row = await money.row("SELECT job_type, complexity, team_id, api_key_id FROM ledger")
        assert tuple(row) == ("", None, "", "")


class TestProjectReport:
    async def test_everything_adds_up(self, money):
        """Costs and jobs of all days, targets, models, types and keys are those of the total."""
        states = ["completed", "failed", "dead_letter", "cancelled"]
        await book(
            money,
            *(
                {
                    "job_state": states[number % 4],
                    "kind": "void" if number % 5 == 0 else "post",
                    "target": f"t{number % 2}",
                    "model": f"m{number % 3}",
                    "job_type": f"type{number % 2}",
                    "api_key_id": f"k{number % 2}",
                    "provider_cost_nanousd": 3,
                    "created_at": datetime.now(UTC) - timedelta(hours=13 * number),
                }
                for number in range(40)
            ),
            {"project_id": "p2", "job_id": "theirs"},
        )

        report = await report_of(money)

        assert report.total == CostSums(320, 120, 40, 10, 20, 10, 32, 64)
        for shares in (
            report.days,
            report.targets,
            report.models,
            report.job_types,
            report.api_keys,
        ):
            for name in CostSums.__slots__:
                assert sum(getattr(one.sums, name) for one in shares) == getattr(report.total, name)
        assert [day.name for day in report.days] == sorted(day.name for day in report.days)
        assert report.ends_at - report.begins_at == timedelta(days=30)
        assert (report.projects, report.teams) == ((), ())

    async def test_job_counts_where_it_ended(self, money):
        """A job that was admitted again is one job, at its last target; both charges count."""
        await book(
            money,
            {"job_id": "j", "hold_id": "j:2", "target": "yotta", "model": "m2"},
            # Booked later, though it was the first.
            {"job_id": "j", "hold_id": "j:1", "job_state": "failed"},
        )

        report = await report_of(money)

        assert (report.total.cost_nanousd, report.total.jobs) == (20, 1)
        assert (report.total.completed_jobs, report.total.failed_jobs) == (1, 0)
        assert named(report.targets) == {"yotta": (10, 1), "local": (10, 0)}

    async def test_corrections(self, money):
        """Refunds take off and surcharges add; neither is a job, nor made any token."""
        await book(
            money,
            {"job_id": "j", "amount_nanousd": 100},
            {"job_id": "j", "kind": "refund", "amount_nanousd": 30},
            {"job_id": "j", "kind": "surcharge", "amount_nanousd": 1},
        )

        total = (await report_of(money)).total

        assert total == CostSums(71, 0, 1, 1, 0, 0, 1, 2)

    async def test_edges_of_the_period(self, money):
        """An entry counts until it is exactly as old as the period is long."""
        now = datetime.now(UTC)
        minute = timedelta(minutes=1)
        await book(
            money,
            {"created_at": now - timedelta(days=7) + minute, "amount_nanousd": 1},
            {"created_at": now - timedelta(days=7) - minute, "amount_nanousd": 2},
            {"created_at": now + minute, "amount_nanousd": 4},
        )

        assert (await report_of(money, days=7)).total.cost_nanousd == 1
        assert (await report_of(money, days=8)).total.cost_nanousd == 3

    async def test_days_are_those_of_utc(self, money):
        """A day ends a microsecond before midnight in London's winter, whatever the season."""
        midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        midnight -= timedelta(days=100)
        await book(
            money,
            {"created_at": midnight - timedelta(microseconds=1), "amount_nanousd": 1},
            {"created_at": midnight, "amount_nanousd": 2},
        )

        days = named((await report_of(money, days=366)).days)

        before = midnight - timedelta(days=1)
        assert days == {f"{before:%Y-%m-%d}": (1, 1), f"{midnight:%Y-%m-%d}": (2, 1)}

    async def test_nameless_and_endless_lists(self, money):
        """What has no name is in the total alone; lists end after the 100 dearest."""
        await book(
            money,
            {"model": "", "amount_nanousd": 1000},
            *({"model": f"m{cost}", "amount_nanousd": cost} for cost in range(1, 103)),
        )

        report = await report_of(money)

        assert len(report.models) == 100
        assert [one.name for one in report.models[:2]] == ["m102", "m101"]
        assert report.total.cost_nanousd == 1000 + 102 * 103 // 2

    async def test_nothing(self, money):
        """A project without entries has zeros and no lists."""
        report = await report_of(money)

        assert (report.total, report.days, report.targets) == (CostSums(), (), ())


async def test_team_report(money):
    """It is over all of the team's projects, of no other team, and names no keys of theirs."""
    await book(
        money,
        {"team_id": "t1", "api_key_id": "k1"},
        {"team_id": "t1", "project_id": "p2"},
        {"team_id": "t2"},
        {},
    )
    get_team_report = GetTeamReport(money.owners, money.work)

    for caller in (OWNER, ADMIN):
        team_id, report = await get_team_report(caller, "t1", 30)
        assert (team_id, report.total.jobs, report.api_keys) == ("t1", 2, ())
        assert (await get_team_report(caller, "none", 30))[1].total.jobs == 0
    with pytest.raises(InvalidArgument):
        await get_team_report(OWNER, "", 30)


async def test_platform_report(money):
    """Everything, and the ten dearest projects and teams."""
    await book(
        money,
        *(
            {"project_id": f"p{cost}", "team_id": f"t{cost % 12}", "amount_nanousd": cost}
            for cost in range(1, 25)
        ),
        {"project_id": "p24", "amount_nanousd": 1},
    )

    report = await GetPlatformReport(money.work)(30)

    assert (report.total.cost_nanousd, report.total.jobs) == (301, 25)
    assert [one.name for one in report.projects] == [f"p{cost}" for cost in range(24, 14, -1)]
    assert named(report.projects)["p24"] == (25, 2)
    assert [one.name for one in report.teams] == ["t0", *(f"t{n}" for n in range(11, 2, -1))]
    assert named(report.targets) == {"local": (301, 25)}


class TestWorkFacts:
    async def facts(self, money):
        async with money.work() as work:
            return await work.comparisons.facts("p1", 30)

    async def test_nothing(self, money):
        """Without entries all figures are 0."""
        assert await self.facts(money) == WorkFacts()

    async def test_simple_work_in_the_cloud(self, money):
        """Only work that was judged simple, ran elsewhere, was charged and has a local price."""
        simple = {"target": "yotta", "complexity": 99, "complexity_threshold": 100}
        await book(
            money,
            {**simple, "amount_nanousd": 30_000_000},
            {**simple, "complexity": 100},
            {**simple, "target": "local"},
            {**simple, "kind": "void"},
            {**simple, "price_version": "none"},
            {"target": "yotta"},
        )

        found = await self.facts(money)

        # 3 tokens at $0.001.
        assert found.simple_jobs == 1
        assert found.simple_charged_nanousd == 30_000_000
        assert found.simple_local_cost_nanousd == 3_000_000

    async def test_failures(self, money):
        """What failed, what it was charged and cost us, and what cost us though it was free."""
        await book(
            money,
            {"job_state": "failed", "provider_cost_nanousd": 5},
            {"job_state": "dead_letter", "kind": "void", "provider_cost_nanousd": 7},
            {"kind": "void"},
            {"kind": "refund", "job_id": "j0", "job_state": "failed"},
        )

        found = await self.facts(money)

        assert found.settlements == 3
        assert (found.failed_charged_nanousd, found.failed_provider_cost_nanousd) == (10, 12)
        assert (found.uncharged_jobs, found.uncharged_provider_cost_nanousd) == (1, 7)

    async def test_holds(self, money):
        """Holds of completed work, beside its charges."""
        for job, state in [("a", "completed"), ("b", "completed"), ("c", "failed")]:
            await money.hold(f"{job}:1", 200)
            await money.post(f"{job}:1", 5, job_state=state, tokens_output=3)

        found = await self.facts(money)

        assert (found.held_jobs, found.held_nanousd, found.held_charged_nanousd) == (2, 400, 10)
        assert found.held_tokens_output == 6


class TestSuggestions:
    async def test_of_expensive_work(self, money):
        """Simple work in the cloud: it is named, and so is the dearest alternative's saving."""
        await money.set_budget(1_000)
        await book(
            money,
            *(
                {
                    "target": "yotta",
                    "complexity": 1,
                    "complexity_threshold": 100,
                    "amount_nanousd": 30_000_000,
                }
                for _ in range(20)
            ),
        )

        found = await GetSuggestions(money.access, money.work)(OWNER, "p1", 30)

        kinds = [one.kind for one in found.suggestions]
        assert SuggestionKind.SIMPLE_WORK_IN_CLOUD in kinds
        assert SuggestionKind.CHEAPER_TARGET in kinds
        assert (found.project_id, found.period_days) == ("p1", 30)

    async def test_of_no_work(self, money):
        """Nothing is suggested to who did nothing."""
        found = await GetSuggestions(money.access, money.work)(OWNER, "p1", 30)

        assert found.suggestions == ()


class TestExport:
    async def exported(self, money, first="", last="", *, ran_only=False):
        export = ExportLedger(money.access, money.work, SystemClock())
        pages = export(OWNER, "p1", first, last, ran_only=ran_only)
        return [entry async for page in pages for entry in page]

    async def test_every_entry_once(self, money):
        """Many entries, also of one moment, come in the order of booking, page by page."""
        moment = datetime.now(UTC) - timedelta(hours=1)
        await book(
            money,
            *({"created_at": moment, "amount_nanousd": number} for number in range(2 * PAGE + 1)),
            {"created_at": moment - timedelta(hours=1), "job_id": "early"},
            {"project_id": "p2", "job_id": "theirs"},
        )

        found = await self.exported(money, f"{moment - timedelta(days=2):%Y-%m-%d}")

        assert found[0].job_id == "early"
        assert [entry.amount_nanousd for entry in found[1:]] == list(range(2 * PAGE + 1))

    async def test_days_are_whole(self, money):
        """The first and the last microsecond of the days are among them, their neighbours not."""
        tick = timedelta(microseconds=1)
        begin = datetime(2026, 3, 28, tzinfo=UTC)
        end = datetime(2026, 3, 30, tzinfo=UTC)
        await book(money, *({"created_at": at} for at in (begin - tick, begin, end - tick, end)))

        found = await self.exported(money, "2026-03-28", "2026-03-29")

        assert [entry.job_id for entry in found] == ["j1", "j2"]

    async def test_only_what_ran(self, money):
        """Corrections and jobs that never came to run are left out where jobs are wanted."""
        await book(
            money,
            {"job_id": "ran", "complexity": 4},
            {"job_id": "waited", "kind": "void", "target": ""},
            {"job_id": "broke", "kind": "void"},
            {"job_id": "ran", "kind": "refund"},
        )

        found = await self.exported(money, ran_only=True)

        assert [(entry.job_id, entry.complexity) for entry in found] == [
            ("ran", 4),
            ("broke", None),
        ]
        assert len(await self.exported(money)) == 4

    async def test_a_page_begins_after_the_last(self, money):
        """A page goes on where the one before ended."""
        await book(money, {}, {}, {})
        today = datetime.now(UTC).date()
        days = DayRange(today - timedelta(days=2), today)
        async with money.work() as work:
            first = await work.exports.page("p1", days, None, 2, ran_only=False)
            after = (first[-1].booked_at, first[-1].entry_id)
            second = await work.exports.page("p1", days, after, 2, ran_only=False)

        assert [entry.job_id for entry in [*first, *second]] == ["j0", "j1", "j2"]
