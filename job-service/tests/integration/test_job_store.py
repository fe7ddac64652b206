"""The promises of the store, kept by Postgres and by the fake alike."""

import asyncio
from dataclasses import replace

import pytest
from job_fakes import (
    ANSWER,
    BOOK,
    DECISION,
    EMBED,
    EMBEDDED,
    LEASE_SECONDS,
    SIGNER,
    SKILLED,
    VECTORS,
    FakeMetrics,
    a_job,
    admitted,
)
from sqlalchemy import text
from sqlalchemy.event import listen
from sqlalchemy.exc import DBAPIError

from job_service.domain.execution import Delta, Dispatching, Progress, Started
from job_service.domain.job_state import JobState
from job_service.domain.receipt import Receipt, ReceiptKey, statement_of
from job_service.domain.settlement import settlement_of
from job_service.domain.specification import JobKind, JobSpecification, Message, Residency, Sampling
from job_service.domain.targets import agree_terms
from job_service.usecases.idempotency_ports import IdempotencyKey, Reservation
from job_service.usecases.job_ports import JobPosition
from job_service.usecases.store_change import StoreChange
from service_kit.ids import new_id
from service_kit.signatures import is_signed

store_change = StoreChange(SIGNER, FakeMetrics())


async def added(store, **changes):
    async with store() as work:
        return await work.jobs.add(a_job(**changes))


async def claim_one(store):
    async with store() as work:
        return (await work.jobs.claim(1))[0]


async def save(store, was, now):
    async with store() as work:
        return await work.jobs.save(was, now)


def progress_of(*events):
    progress = Progress()
    for event in events:
        progress.note(event)
    return progress


class TestKeeping:
    async def test_everything_of_a_job_comes_back(self, store):
        """What is stored is what is read, to the last field."""
        specification = JobSpecification(
            "implement_feature",
            "smol",
            (Message("system", "Be brief."), Message("user", "Zażółć 🐱")),
            Sampling(7, 0.5, 0.9, 42, ("a", "b"), 1.0, -1.0),
            Residency.LOCAL_ONLY,
        )
        job = await added(store, specification=specification, origin_request_id="r1", priority=3)
        assert await store.stored(job.id) == job

        job = await admitted(store, a_job(specification=specification))
        claimed = await claim_one(store)
        dispatched = await save(store, claimed, claimed.dispatched(Dispatching("yotta", "c1")))
        finished = replace(dispatched.completed(progress_of(*ANSWER)), last_error="odd")
        stored = await save(store, dispatched, finished)
        assert await store.stored(job.id) == stored
        assert stored.usage is not None
        assert stored.decision == DECISION

    async def test_times_are_stamped(self, store):
        job = await added(store)
        assert job.created_at is not None
        assert job.lease_expires_at > job.created_at

        await admitted(store, a_job())
        claimed = await claim_one(store)
        assert claimed.started_at is not None
        assert (claimed.lease_expires_at - claimed.started_at).total_seconds() == LEASE_SECONDS
        done = await save(store, claimed, claimed.completed(progress_of(*ANSWER)))
        assert done.completed_at is not None

    async def test_model_output_with_nul_is_kept(self, store):
        """A model may write what a text column does not take."""
        await admitted(store, a_job())
        claimed = await claim_one(store)
        events = (Started("local", "smol"), Delta("a\0b", 1), ANSWER[-1])
        done = await save(store, claimed, claimed.completed(progress_of(*events)))
        assert "b" in (await store.stored(done.id)).result_text

    async def test_foreign_job_looks_absent(self, store):
        """Another project's job can't be told from one that never was."""
        job = await added(store)
        async with store() as work:
            assert await work.jobs.find("p2", job.id) is None
            assert await work.jobs.find("p1", job.id) is not None
            assert await work.jobs.find("p1", "j9") is None

    async def test_pages_follow_each_other(self, store):
        """Newest first, every job once."""
        made = [(await added(store)).id for _ in range(5)]
        await added(store, project_id="p2")
        seen, after = [], None
        while True:
            async with store() as work:
                page = await work.jobs.list_page("p1", None, 2, after)
            if not page:
                break
            seen += [job.id for job in page]
            after = JobPosition(page[-1].created_at, page[-1].id)
        assert seen == sorted(made, reverse=True)

    async def test_pages_of_one_state(self, store):
        """Jobs that are being admitted count as pending."""
        admitting = await added(store)
        pending = await admitted(store, a_job())
        blocked = await added(store)
        await save(store, blocked, blocked.refused("NO_BUDGET", "None."))
        async with store() as work:
            found = await work.jobs.list_page("p1", JobState.PENDING, 10, None)
        assert {job.id for job in found} == {admitting.id, pending.id}

    async def test_depths(self, store):
        await added(store)
        await admitted(store, a_job())
        job = await admitted(store, a_job())
        async with store() as work:
            await store_change(work, job, job.cancellation_requested())
        async with store() as work:
            depths = await work.jobs.depths()
        assert depths.by_state == {"admitting": 1, "pending": 1}
        assert depths.unsent_settlements == 1


class TestCompareAndSet:
    """Nothing is changed that is no longer as it was read."""

    async def test_other_state_refuses(self, store):
        job = await admitted(store, a_job())
        await claim_one(store)
        assert await save(store, job, job.cancellation_requested()) is None

    async def test_other_admission_refuses(self, store):
        job = await added(store)
        assert await save(store, replace(job, admission=2), job.admitted("2026-01", "t")) is None

    async def test_other_attempt_refuses(self, store):
        """A job that ran and came back is not the job that was read before."""
        job = await admitted(store, a_job())
        claimed = await claim_one(store)
        await save(store, claimed, claimed.handed_back(0))
        assert await save(store, job, job.cancellation_requested()) is None

    async def test_other_lease_token_refuses(self, store):
        """X-R2: whoever lost the lease can't finish."""
        await admitted(store, a_job())
        late = await claim_one(store)
        impostor = replace(late, lease_token=new_id())
        assert await save(store, impostor, impostor.completed(progress_of(*ANSWER))) is None
        assert (await store.stored(late.id)).state is JobState.RUNNING

    async def test_other_lease_token_can_not_renew(self, store):
        await admitted(store, a_job())
        job = await claim_one(store)
        async with store() as work:
            assert await work.jobs.renew(replace(job, lease_token=new_id()), Progress()) is None
            assert await work.jobs.renew(job, Progress()) is False

    async def test_refused_change_tells_no_event(self, store):
        job = await admitted(store, a_job())
        await claim_one(store)
        await save(store, job, job.cancellation_requested())
        assert await store.events_of(job.id) == ["created", "pending", "running"]

    async def test_racing_workers_make_one_winner(self, store):
        """Twenty finishes of the same attempt: one is stored."""
        await admitted(store, a_job())
        job = await claim_one(store)
        done = job.completed(progress_of(*ANSWER))

        async def finish():
            async with store() as work:
                return await store_change(work, job, done)

        stored = await asyncio.gather(*(finish() for _ in range(20)))
        assert sum(one is not None for one in stored) == 1
        assert (await store.events_of(job.id)).count("completed") == 1


class TestLeases:
    async def test_renewal_stores_how_far_it_is(self, store):
        await admitted(store, a_job())
        job = await claim_one(store)
        await store.lapse(job.id)
        async with store() as work:
            await work.jobs.renew(
                job, progress_of(DECISION, Started("local", "smol"), Delta("x", 7))
            )
        stored = await store.stored(job.id)
        assert (stored.tokens_counted, stored.executed_target) == (7, "local")
        assert stored.decision == DECISION
        async with store() as work:
            assert await work.jobs.lapsed_count() == 0

    async def test_renewal_tells_of_a_cancel_request(self, store):
        await admitted(store, a_job())
        job = await claim_one(store)
        await save(store, job, job.cancellation_requested())
        async with store() as work:
            assert await work.jobs.renew(job, Progress()) is True

    async def test_finish_keeps_a_cancel_request_that_came_between(self, store):
        """Who finishes need not have seen it."""
        await admitted(store, a_job())
        job = await claim_one(store)
        await save(store, job, job.cancellation_requested())
        done = await save(store, job, job.completed(progress_of(*ANSWER)))
        assert done.state is JobState.COMPLETED
        assert done.cancel_requested

    async def test_running_lease_is_left_alone(self, store):
        await admitted(store, a_job())
        await claim_one(store)
        async with store() as work:
            assert await work.jobs.lock_lapsed(10) == []

    async def test_final_token_stays(self, store):
        """Whoever finished can find its own commit again."""
        await admitted(store, a_job())
        job = await claim_one(store)
        await save(store, job, job.completed(progress_of(*ANSWER)))
        async with store() as work:
            found = await work.jobs.find_anywhere(job.id)
        assert (found.state, found.lease_token) == (JobState.COMPLETED, job.lease_token)

    async def test_several_are_found_at_once(self, store):
        """Whole but for what a single look leaves out, too."""
        made = [await admitted(store, a_job()) for _ in range(3)]
        async with store() as work:
            found = await work.jobs.find_several([made[0].id, "none", made[2].id])
            alone = [await work.jobs.find_anywhere(job.id) for job in (made[0], made[2])]
        assert sorted(found, key=lambda job: job.id) == sorted(alone, key=lambda job: job.id)


class TestClaiming:
    async def test_each_job_is_claimed_once(self, store):
        """Racing dispatchers share the queue without a job in common."""
        made = {(await admitted(store, a_job())).id for _ in range(30)}

        async def claim():
            async with store() as work:
                return [job.id for job in await work.jobs.claim(7)]

        claimed = [
            job_id
            for batch in await asyncio.gather(*(claim() for _ in range(8)))
            for job_id in batch
        ]
        assert len(claimed) == len(set(claimed))
        assert set(claimed) <= made
        while batch := await claim():
            claimed += batch
        assert set(claimed) == made

    async def test_oldest_first(self, store):
        made = [(await admitted(store, a_job())).id for _ in range(3)]
        assert [(await claim_one(store)).id for _ in made] == made

    async def test_claim_opens_an_attempt_with_a_new_token(self, store):
        await admitted(store, a_job())
        first = await claim_one(store)
        await save(store, first, first.handed_back(0))
        await store.make_due(first.id)
        second = await claim_one(store)
        assert (first.attempt, second.attempt) == (1, 2)
        assert first.lease_token != second.lease_token
        assert len(await store.attempts_of(first.id)) == 2
        assert await store.events_of(first.id) == [
            "created",
            "pending",
            "running",
            "pending",
            "running",
        ]

    async def test_delay_is_kept(self, store):
        await admitted(store, a_job())
        job = await claim_one(store)
        await save(store, job, job.handed_back(60))
        async with store() as work:
            assert await work.jobs.claim(1) == []

    async def test_claim_forgets_the_last_attempt(self, store):
        await admitted(store, a_job())
        job = await claim_one(store)
        async with store() as work:
            await work.jobs.renew(
                job, progress_of(DECISION, Started("local", "smol"), Delta("x", 7))
            )
        stored = await store.stored(job.id)
        await save(store, stored, stored.handed_back(0))
        again = await claim_one(store)
        assert (again.tokens_counted, again.executed_target, again.decision) == (0, None, None)

    async def test_interactive_work_is_never_claimed(self, store):
        await admitted(store, a_job(JobKind.INTERACTIVE))
        async with store() as work:
            assert await work.jobs.claim(10) == []


class TestIdempotency:
    KEY = IdempotencyKey("p1", "CreateJob", "k1")

    async def test_first_one_has_it(self, store):
        async with store() as work:
            assert (
                await work.idempotency.reserve(self.KEY, Reservation("j1", "h1"))
            ).job_id == "j1"
        async with store() as work:
            found = await work.idempotency.reserve(self.KEY, Reservation("j2", "h2"))
        assert found == Reservation("j1", "h1")

    @pytest.mark.parametrize(
        "other",
        [
            IdempotencyKey("p2", "CreateJob", "k1"),
            IdempotencyKey("p1", "RunJob", "k1"),
            IdempotencyKey("p1", "CreateJob", "k2"),
        ],
    )
    async def test_project_route_and_key_are_apart(self, store, other):
        async with store() as work:
            await work.idempotency.reserve(self.KEY, Reservation("j1", "h1"))
            assert (await work.idempotency.reserve(other, Reservation("j2", "h2"))).job_id == "j2"

    async def test_released_key_is_free(self, store):
        async with store() as work:
            await work.idempotency.reserve(self.KEY, Reservation("j1", "h1"))
            await work.idempotency.release("j1")
            assert await work.idempotency.find(self.KEY) is None

    async def test_rolled_back_key_is_free(self, store):
        async def crash():
            async with store() as work:
                await work.idempotency.reserve(self.KEY, Reservation("j1", "h1"))
                raise RuntimeError("crash")

        with pytest.raises(RuntimeError):
            await crash()
        async with store() as work:
            assert await work.idempotency.find(self.KEY) is None


class TestEmbeddings:
    async def test_are_kept_apart_from_their_job(self, store):
        """They may be large: only who asks for them gets them."""
        terms = agree_terms(EMBED, (SKILLED,), BOOK)
        job = a_job(JobKind.INTERACTIVE, specification=EMBED, terms=terms)
        job = await admitted(store, job)
        await save(store, job, job.completed(progress_of(*EMBEDDED)))
        async with store() as work:
            assert await work.jobs.find_embeddings(job.id) == b"".join(v.vector for v in VECTORS)
            assert await work.jobs.find_embeddings("none") is None
            found = await work.jobs.find("p1", job.id)
            (listed,) = await work.jobs.list_page("p1", None, 10, None)
        assert (found.result_embeddings, listed.result_embeddings) == (None, None)
        assert found.specification.makes_vectors


class TestReceipts:
    async def ended(self, store):
        job = await admitted(store, a_job())
        async with store() as work:
            return await store_change(work, job, job.cancellation_requested())

    async def test_comes_with_the_final_state(self, store):
        """The bytes that were signed are the bytes that come back."""
        job = await self.ended(store)
        async with store() as work:
            receipt = await work.receipts.find(job.id)
            assert await work.receipts.find("none") is None
        assert receipt.statement == statement_of(job)
        assert is_signed(receipt.statement, receipt.signature, SIGNER.public_key)
        assert (receipt.job_id, receipt.key_ids) == (job.id, (SIGNER.key_id,))

    async def test_goes_with_a_final_state_that_is_rolled_back(self, store):
        job = await admitted(store, a_job())

        async def roll_back():
            async with store() as work:
                await store_change(work, job, job.cancellation_requested())
                raise LookupError

        with pytest.raises(LookupError):
            await roll_back()
        async with store() as work:
            assert await work.receipts.find(job.id) is None
            assert await work.receipts.list_keys() == []
        await self.ended(store)
        async with store() as work:
            assert len(await work.receipts.list_keys()) == 1

    async def test_change_that_lost_the_race_leaves_none(self, store):
        job = await added(store)
        async with store() as work:
            stale = replace(job, admission=2)
            assert await store_change(work, stale, stale.cancellation_requested()) is None
            assert await work.receipts.find(job.id) is None

    async def test_first_one_stays(self, store):
        """A receipt is never replaced, and another settlement is no reason to fail."""
        job = await self.ended(store)
        other = Receipt(job.id, 1, b'{"result":null}', "k", b"s")
        async with store() as work:
            assert not await work.settlements.add(settlement_of(job), other)
            assert (await work.receipts.find(job.id)).key_id == SIGNER.key_id

    async def test_each_admission_has_its_own(self, store):
        """A job that is admitted anew is charged anew; the newest receipt is given out."""
        job = await self.ended(store)
        for admission in (3, 2):
            again = replace(job, admission=admission)
            other = Receipt(job.id, admission, b'{"result":null}', f"k{admission}", b"s")
            async with store() as work:
                assert await work.settlements.add(settlement_of(again), other)
        async with store() as work:
            assert (await work.receipts.find(job.id)) == Receipt(
                job.id, 3, b'{"result":null}', "k3", b"s"
            )

    async def test_key_belongs_to_whoever_was_first(self, store):
        mine, others = (ReceiptKey("k", b"x" * 32, owner) for owner in ("w1", "w2"))
        for key, owner in ((mine, "w1"), (others, "w1"), (mine, "w1")):
            async with store() as work:
                assert await work.receipts.keep_key(key) == owner
        async with store() as work:
            (kept,) = await work.receipts.list_keys()
        assert (kept.key_id, kept.public_key, kept.owner) == ("k", b"x" * 32, "w1")
        assert kept.created_at is not None

    async def test_racing_owners_of_a_key_agree(self, store):
        async def keep(owner):
            async with store() as work:
                return await work.receipts.keep_key(ReceiptKey("k", b"x" * 32, owner))

        assert len(set(await asyncio.gather(*(keep(f"w{n}") for n in range(5))))) == 1

    async def test_keys_newest_first(self, store):
        for name in ("a", "b", "c"):
            async with store() as work:
                await work.receipts.keep_key(ReceiptKey(name, b"", ""))
        async with store() as work:
            assert [key.key_id for key in await work.receipts.list_keys()] == ["c", "b", "a"]
            assert [key.key_id for key in await work.receipts.find_keys(("a", "x"))] == ["a"]

    @pytest.mark.parametrize("change", ["UPDATE {} SET key_id = 'x'", "DELETE FROM {}"])
    @pytest.mark.parametrize("table", ["receipts", "receipt_keys"])
    async def test_rows_are_only_added(self, postgres_store, table, change):
        """Whoever takes over the service's login can't rewrite what was vouched for."""
        await self.ended(postgres_store)
        with pytest.raises(DBAPIError, match="only grows"):
            async with postgres_store.engine.begin() as connection:
                await connection.execute(text(change.format(table)))

    async def test_costs_no_round_trip_of_its_own(self, postgres_store):
        """It travels with the settlement, and a key that is known is not asked for again."""
        await self.ended(postgres_store)
        statements = []
        listen(
            postgres_store.engine.sync_engine,
            "before_cursor_execute",
            lambda *details: statements.append(details[2]),
        )
        await self.ended(postgres_store)
        (only,) = [each for each in statements if "receipt" in each]
        assert "INSERT INTO settlements" in only


class TestOutbox:
    @staticmethod
    def a_settlement():
        return settlement_of(a_job(state=JobState.CANCELLED))

    async def test_one_settlement_for_each_hold(self, store):
        settlement = self.a_settlement()
        async with store() as work:
            assert await work.settlements.add(settlement)
            assert not await work.settlements.add(settlement)

    async def test_racing_settlements_make_one(self, store):
        """Post or void, never both."""
        void = self.a_settlement()

        async def add():
            async with store() as work:
                return await work.settlements.add(void)

        assert sum(await asyncio.gather(*(add() for _ in range(20)))) == 1

    async def test_claimed_settlement_is_nobody_elses(self, store):
        async with store() as work:
            await work.settlements.add(self.a_settlement())

        async def claim():
            async with store() as work:
                return len(await work.settlements.claim(10, 15.0))

        assert sum(await asyncio.gather(*(claim() for _ in range(5)))) == 1

    async def test_unsent_settlement_comes_again(self, store):
        """Its relay was killed: another one sends it."""
        settlement = self.a_settlement()
        async with store() as work:
            await work.settlements.add(settlement)
            await work.settlements.claim(10, 15.0)
        await store.make_settlement_due(settlement.hold_id)
        async with store() as work:
            (again,) = await work.settlements.claim(10, 15.0)
        assert (again.hold_id, again.attempts) == (settlement.hold_id, 2)
        assert again.outcome == settlement.outcome
        assert again.scopes == settlement.scopes

    async def test_sent_settlement_stays_sent(self, store):
        settlement = self.a_settlement()
        async with store() as work:
            await work.settlements.add(settlement)
            await work.settlements.mark_sent([settlement.hold_id])
            assert await work.settlements.claim(10, 15.0) == []
            assert not await work.settlements.resend(settlement.hold_id, 60)

    async def test_settlement_sent_long_ago_can_be_sent_again(self, store):
        settlement = self.a_settlement()
        async with store() as work:
            await work.settlements.add(settlement)
            await work.settlements.mark_sent([settlement.hold_id])
        await store.age_settlement(settlement.hold_id, 120)
        async with store() as work:
            assert await work.settlements.resend(settlement.hold_id, 60)
            assert len(await work.settlements.claim(10, 15.0)) == 1

    async def test_postponed_settlement_waits(self, store):
        settlement = self.a_settlement()
        async with store() as work:
            await work.settlements.add(settlement)
            await work.settlements.postpone(settlement.hold_id, "no", 60)
            assert await work.settlements.claim(10, 15.0) == []
