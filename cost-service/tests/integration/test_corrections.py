"""Refunds and surcharges on a real Postgres: booked once, never too much, for administrators."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import text

from cost_service.domain.errors import (
    BudgetExceeded,
    IdempotencyKeyReused,
    JobCostNotFound,
    NothingCharged,
    RefundExceedsCharge,
)
from cost_service.domain.settlement import EntryKind
from cost_service.usecases.correct_charge import CorrectCharge
from cost_service.usecases.get_job_cost import GetJobCost
from cost_service.usecases.list_job_entries import ListJobEntries
from service_kit.database import open_engine
from service_kit.errors import InvalidArgument, PermissionDenied
from service_kit.paging import encode_page_token
from service_kit.request_context import Caller

from .conftest import ADMIN, OWNER, Money, check_books, empty


@pytest.fixture
async def charged(money):
    """A job that was held for 100 and charged 60."""
    await money.hold(amount=100)
    await money.post(amount=60, price_version="1")


@pytest.mark.usefixtures("charged")
class TestCorrections:
    async def test_refund_is_an_entry_of_its_own(self, money, database):
        """It lowers what the post raised, names why, and the books agree."""
        entry = await money.refund(25, "r1", reason="it was wrong")

        assert (entry.kind, entry.hold_id, entry.amount_nanousd) == (EntryKind.REFUND, "j1:1", 25)
        assert (entry.reason, entry.price_version) == ("it was wrong", "1")
        assert await money.budget() == (1000, 0, 35)
        assert money.metric("cost_ledger_entries_total", kind="refund") == 1
        await check_books(database)

    async def test_correction_is_audited(self, money):
        """Who did what to whose charge, and why, is kept."""
        await money.refund(25, "r1", reason="it was wrong")

        row = await money.row(
            "SELECT action, actor, subject, details ->> 'reason' AS reason FROM audit_entries "
            "ORDER BY entry_id DESC LIMIT 1"
        )
        assert tuple(row) == ("ledger.refund", "user:admin-1", "job j1", "it was wrong")

    async def test_tokens_are_not_counted_twice(self, money):
        """A correction repeats neither tokens nor provider costs of its charge."""
        await money.surcharge(5, "r1")

        row = await money.row(
            "SELECT sum(tokens_input) + sum(tokens_output) + sum(provider_cost_nanousd) FROM ledger"
        )
        assert row[0] == 0

    async def test_surcharge_books_past_the_cap(self, money, database):
        """The work was done: it books, and what comes next is refused."""
        await money.surcharge(1000, "r1")

        assert await money.budget() == (1000, 0, 1060)
        with pytest.raises(BudgetExceeded):
            await money.hold("j2:1", 1)
        await check_books(database)

    async def test_no_more_is_refunded_than_was_charged(self, money, database):
        """Charge and surcharges together are the limit of all refunds together."""
        await money.surcharge(10, "r1")
        await money.refund(50, "r2")

        with pytest.raises(RefundExceedsCharge) as refused:
            await money.refund(21, "r3")
        await money.refund(20, "r4")

        assert refused.value.metadata["left_nanousd"] == "20"
        assert await money.budget() == (1000, 0, 0)
        await check_books(database)

    async def test_same_request_books_once(self, money, database):
        """Sent twenty times at once: one entry, twenty equal answers."""
        answers = await asyncio.gather(*(money.refund(25, "r1") for _ in range(20)))

        assert len(set(answers)) == 1
        assert await money.budget() == (1000, 0, 35)
        assert await money.value("SELECT count(*) FROM audit_entries WHERE action ~ 'refund'") == 1
        await check_books(database)

    async def test_request_id_of_something_else_is_refused(self, money):
        """The same id with another amount, kind or job books nothing."""
        await money.hold("j2:1", 100)
        await money.post("j2:1", 60)
        await money.refund(25, "r1")

        for other in (
            money.refund(26, "r1"),
            money.surcharge(25, "r1"),
            money.refund(25, "r1", job_id="j2"),
        ):
            with pytest.raises(IdempotencyKeyReused):
                await other
        assert await money.budget() == (1000, 0, 95)

    async def test_one_request_id_for_two_jobs_at_once(self, money, database):
        """Of two jobs that race for one request id, one is refunded and the other refused."""
        await money.hold("j2:1", 100)
        await money.post("j2:1", 60)

        for number in range(10):
            results = await asyncio.gather(
                money.refund(1, f"r{number}"),
                money.refund(1, f"r{number}", job_id="j2"),
                return_exceptions=True,
            )
            assert sorted(type(one).__name__ for one in results) == [
                "IdempotencyKeyReused",
                "JobEntry",
            ]
        assert await money.budget() == (1000, 0, 110)
        await check_books(database)

    async def test_twenty_refunds_of_a_tenth(self, money, database):
        """X-M1: twenty at once of 10 % each: exactly ten are booked."""
        results = await asyncio.gather(
            *(money.refund(6, f"r{number}") for number in range(20)), return_exceptions=True
        )

        assert sum(isinstance(one, RefundExceedsCharge) for one in results) == 10
        assert sum(isinstance(one, BaseException) for one in results) == 10
        assert await money.budget() == (1000, 0, 0)
        await check_books(database)

    async def test_only_administrators_correct(self, money):
        """A project's owner does not refund himself."""
        from cost_service.domain.correction import Correction

        with pytest.raises(PermissionDenied):
            await CorrectCharge(money.work, money.meter)(
                OWNER, Correction("r1", EntryKind.REFUND, "j1", 0, 1, "please")
            )

        assert await money.budget() == (1000, 0, 60)

    async def test_admission_is_chosen(self, money, database):
        """By its number, or the latest one that was charged."""
        await money.hold("j1:2", 100)
        await money.post("j1:2", 50)
        await money.hold("j1:3", 100)
        await money.void("j1:3")

        latest = await money.refund(50, "r1")
        first = await money.refund(60, "r2", admission=1)

        assert (latest.hold_id, first.hold_id) == ("j1:2", "j1:1")
        with pytest.raises(NothingCharged, match="Job j1 has no admission 3 that was charged"):
            await money.refund(1, "r3", admission=3)
        await check_books(database)


async def test_latest_admission_is_the_highest_not_the_last_booked(money):
    """Settlements may come out of order; a retried job's last admission is still its last."""
    await money.hold("j1:1", 100)
    await money.hold("j1:2", 100)
    await money.post("j1:2", 50, target="yotta")
    await money.post("j1:1", 60, target="local")

    assert (await money.refund(50, "r1")).hold_id == "j1:2"
    cost = await GetJobCost(money.access, money.work)(OWNER, "p1", "j1")
    assert (cost.target, cost.charged_nanousd) == ("yotta", 60)


async def test_what_was_not_charged_is_not_corrected(money):
    """Neither a hold nor a void can be refunded or surcharged, and the unknown is unknown."""
    await money.hold("held:1")
    await money.hold("voided:1")
    await money.void("voided:1")

    for job_id in ("held", "voided"):
        with pytest.raises(NothingCharged, match=f"Job {job_id} was not charged"):
            await money.surcharge(1, "r1", job_id)
    with pytest.raises(JobCostNotFound):
        await money.refund(1, "r1", "nobody")


class TestEntries:
    @pytest.fixture
    def listing(self, money):
        return ListJobEntries(money.access, money.work)

    @pytest.mark.usefixtures("charged")
    async def test_everything_booked_is_listed(self, money, listing):
        """Post, surcharge and refund, oldest first, by pages."""
        await money.surcharge(1, "r1")
        await money.refund(2, "r2")

        page, token = await listing(OWNER, "p1", "j1", 2, "")
        rest, end = await listing(OWNER, "p1", "j1", 2, token)

        assert [one.kind.value for one in (*page, *rest)] == ["post", "surcharge", "refund"]
        assert end == ""

    @pytest.mark.usefixtures("charged")
    async def test_one_token_asks_every_project(self, money, listing):
        """Where nobody said which project, they are asked one after the other, on any page."""
        await money.surcharge(1, "r1")
        _, token = await listing(OWNER, "p1", "j1", 1, "")

        with pytest.raises(JobCostNotFound):
            await listing(OWNER, "p2", "j1", 1, token)
        page, _ = await listing(OWNER, "p1", "j1", 1, token)
        assert [one.kind.value for one in page] == ["surcharge"]

    @pytest.mark.parametrize("position", [-1, 2**63, 2**70])
    async def test_made_up_token_is_refused(self, listing, position):
        """X-H2: a position that no entry can have is no server error."""
        token = encode_page_token([position], scope=("job_entries", "j1"))
        with pytest.raises(InvalidArgument):
            await listing(OWNER, "p1", "j1", 1, token)

    @pytest.mark.usefixtures("charged")
    async def test_foreign_job_looks_absent(self, listing):
        """Another project's job can't be told from one that never was."""
        for project_id, job_id in (("p2", "j1"), ("p1", "nobody")):
            with pytest.raises(JobCostNotFound):
                await listing(OWNER, project_id, job_id, 0, "")

    @pytest.mark.usefixtures("charged")
    async def test_administrators_see_what_they_correct(self, money, listing):
        """In no project or the right one; a key of an administrator is no administrator."""
        await money.hold("held:1")

        for project_id in ("", "p1"):
            page, _ = await listing(ADMIN, project_id, "j1", 0, "")
            assert [one.kind.value for one in page] == ["post"]
        assert await listing(ADMIN, "", "held", 0, "") == ([], "")
        for project_id, job_id in (("p2", "j1"), ("", "nobody")):
            with pytest.raises(JobCostNotFound):
                await listing(ADMIN, project_id, job_id, 0, "")
        key = Caller("admin-1", "api_key", "admin", key_id="k1", project_id="p2")
        with pytest.raises(JobCostNotFound):
            await listing(key, "", "j1", 0, "")

    async def test_held_job_has_no_entries_yet(self, money, listing):
        """A job that is only held is there, with an empty list."""
        await money.hold()

        assert await listing(OWNER, "p1", "j1", 0, "") == ([], "")


jobs = st.sampled_from(["j1", "j2", "j3"])
amounts = st.integers(1, 60)
request_ids = st.sampled_from([f"r{number}" for number in range(6)])


class CorrectionMachine(RuleBasedStateMachine):
    """Holds, ends and corrects in any order and again, and compares with plain sums."""

    database = ""
    superuser_url = ""

    def __init__(self) -> None:
        super().__init__()
        self.states: dict[str, str] = {}
        self.charges: dict[str, int] = {}
        self.requests: dict[str, tuple] = {}
        self.runner = asyncio.Runner()
        self.run = self.runner.run
        self.run(self._open())

    async def _open(self) -> None:
        await empty(self.superuser_url)
        self.engine = open_engine(self.database, application_name="test")
        self.money = Money(self.engine, None)
        await self.money.set_budget(9_000)

    def teardown(self) -> None:
        self.run(check_books(self.database))
        self.run(self.engine.dispose())
        self.runner.close()

    @rule(job=jobs)
    def hold(self, job):
        if self.states.setdefault(job, "held") == "held":
            self.run(self.money.hold(f"{job}:1", 50))

    @rule(job=jobs, amount=amounts)
    def post(self, job, amount):
        booked = self.run(self.money.post(f"{job}:1", amount))
        assert booked == (self.states.get(job) not in ("posted", "voided"))
        if booked:
            self.charges[job] = min(amount, 50) if job in self.states else amount
            self.states[job] = "posted"

    @rule(job=jobs)
    def void(self, job):
        booked = self.run(self.money.void(f"{job}:1"))
        assert booked == (self.states.get(job) not in ("posted", "voided"))
        if booked:
            self.states[job] = "voided"

    @rule(kind=st.sampled_from(["refund", "surcharge"]), job=jobs, amount=amounts, key=request_ids)
    def correct(self, kind, job, amount, key):
        asked = (kind, job, amount)
        expected = self._expected(asked, key)
        answer = self.run(self._answer(getattr(self.money, kind)(amount, key, job)))
        if expected is not None:
            assert type(answer) is expected
            return
        assert (answer.kind, answer.job_id, answer.amount_nanousd) == asked
        if key not in self.requests:
            self.requests[key] = asked
            self.charges[job] += amount if kind == "surcharge" else -amount

    async def _answer(self, call):
        (answer,) = await asyncio.gather(call, return_exceptions=True)
        return answer

    def _expected(self, asked, key):
        kind, job, amount = asked
        if key in self.requests:
            return None if self.requests[key] == asked else IdempotencyKeyReused
        if job not in self.states:
            return JobCostNotFound
        if job not in self.charges:
            return NothingCharged
        return RefundExceedsCharge if kind == "refund" and amount > self.charges[job] else None

    @invariant()
    def books_agree(self):
        found = self.run(self._found())
        held = sum(50 for state in self.states.values() if state == "held")
        assert found == (held, sum(self.charges.values()), self.charges)
        assert all(charge >= 0 for charge in self.charges.values())

    async def _found(self):
        """Return what is reserved and posted, and the sum of each job's entries."""
        async with self.engine.connect() as connection:
            budget = (
                await connection.execute(
                    text("SELECT reserved_nanousd, posted_nanousd FROM budgets")
                )
            ).one()
            sums = await connection.execute(
                text(
                    "SELECT job_id, sum(CASE kind WHEN 'refund' THEN -amount_nanousd "
                    "ELSE amount_nanousd END) FROM ledger GROUP BY job_id "
                    "HAVING count(*) FILTER (WHERE kind = 'post') = 1"
                )
            )
            return (*budget, {job_id: int(charge) for job_id, charge in sums})


@pytest.mark.timeout(120)
def test_corrections_in_any_order(migrated_database, kept_database):
    """Sums agree to the nano-USD, nothing is settled twice, and nothing is ever negative."""
    CorrectionMachine.database = kept_database
    CorrectionMachine.superuser_url = migrated_database.superuser_url(kept_database)
    run_state_machine_as_test(
        CorrectionMachine,
        settings=settings(
            max_examples=8,
            stateful_step_count=12,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
