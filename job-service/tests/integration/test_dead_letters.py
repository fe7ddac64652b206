"""A person decides about jobs that are over: retry, redrive, purge. On both stores."""

import asyncio
import os
from dataclasses import replace

import pytest
from job_fakes import ANSWER, BOOK, HELLO, LOCAL, SCOPES, TERMS, YOTTA, a_submission

from job_service.domain.budget_scope import BudgetScope
from job_service.domain.charge import Price, PriceBook
from job_service.domain.dead_letter import DeadLetterFilter
from job_service.domain.errors import (
    DeadLetterNotFound,
    IdempotencyKeyReused,
    JobNotFinished,
    JobNotFound,
    JobNotRetryable,
    ModelNotFound,
    QueueFull,
)
from job_service.domain.execution import Dispatching, Progress
from job_service.domain.job_state import JobState
from job_service.domain.settlement import SettlementKind
from job_service.usecases import redrive_dead_letters
from job_service.usecases.dead_letter_ports import DeadLetterPosition
from service_kit.errors import ServiceError

RACES = 5 * int(os.environ.get("WEIR_TEST_SCALE", "1"))
RACERS = 4
POSTED = (SettlementKind.POST, 33 * 1_000_000, False)
VOIDED = (SettlementKind.VOID, 0, False)
ALL = DeadLetterFilter("p1")


async def evidence_of(world, job):
    return (await world.get_dead_letter("p1", job.id)).evidence


class TestRetry:
    async def test_new_admission_at_the_prices_of_now(self, world):
        """C3: a second hold and a second charge; the first stays as it is. Attempts go on."""
        dead = await world.dead_letter()
        world.prices.value = PriceBook(
            "2", (Price("local", "*", *[2 * 10**12] * 2), BOOK.prices[1])
        )

        job = await world.retry(dead.id)

        assert (job.state, job.admission, job.attempt, job.retry_count) == (
            JobState.PENDING,
            2,
            1,
            0,
        )
        assert (job.failure_reason, job.last_error, job.completed_at) == (None, None, None)
        assert job.agreed.price_version == "2"
        assert world.ledger.holds == {f"{job.id}:2": 2 * TERMS.hold_nanousd}
        await world.dispatch_all()
        done = await world.store.stored(job.id)
        assert (done.state, done.attempt, done.charge_nanousd) == (
            JobState.COMPLETED,
            2,
            66 * 10**6,
        )
        assert await world.store.settlements() == {
            f"{job.id}:1": VOIDED,
            f"{job.id}:2": (SettlementKind.POST, 66 * 10**6, False),
        }
        assert [each["admission"] for each in await world.store.attempts_of(job.id)] == [1, 2]
        assert (await world.store.events_of(job.id))[3:] == [
            "dead_letter",
            "retried",
            "pending",
            "running",
            "completed",
        ]
        async with world.store() as work:
            assert (await work.receipts.find(job.id)).admission == 2

    async def test_its_budgets_stay_the_same(self, world):
        """Project, team and key of its submission hold it again, and pay for it."""
        scopes = (
            *SCOPES,
            BudgetScope("team", "t1", "", default_cap=False),
            BudgetScope("api_key", "k1", "u1", default_cap=False),
        )
        dead = await world.dead_letter(scopes=scopes)

        await world.retry(dead.id)

        again = await world.store.stored(dead.id)
        assert (again.admission, again.scopes) == (2, scopes)

    async def test_what_was_charged_stays_charged(self, world):
        """Who cancelled halfway pays for that half, and for the second run besides."""
        job = await world.claimed()
        progress = Progress()
        for event in ANSWER[:3]:
            progress.note(event)
        async with world.store() as work:
            cancelled = await world.store_change(work, job, job.stopped(progress))
        assert cancelled.charge_nanousd == 3 * 10**6

        retried = await world.retry(job.id)

        assert (retried.charge_nanousd, retried.result_text, retried.usage) == (None, None, None)
        await world.dispatch_all()
        assert await world.store.settlements() == {
            f"{job.id}:1": (SettlementKind.POST, 3 * 10**6, False),
            f"{job.id}:2": POSTED,
        }

    async def test_unclear_job_is_retried_if_somebody_wishes(self, world):
        """AMBIGUOUS: the provider may have been paid; what it may want stays noted."""
        job = await world.claimed()
        async with world.store() as work:
            went = job.dispatched(Dispatching("local", f"{job.id}:1"))
            went = await world.store_change(work, job, went)
            await world.store_change(work, went, went.abandoned(Progress()))

        retried = await world.retry(job.id)

        assert (retried.state, retried.dispatch) == (JobState.PENDING, None)
        (attempt,) = await world.store.attempts_of(job.id)
        assert attempt["provider_cost_nanousd"] > 0

    async def test_cancelled_before_it_was_held(self, world):
        world.ledger.budget_nanousd = 0
        job = await world.create(a_submission())
        await world.cancel("p1", job.id)
        world.ledger.budget_nanousd = 10**18
        retried = await world.retry(job.id)
        assert (retried.state, retried.cancel_requested) == (JobState.PENDING, False)
        await world.dispatch_all()
        assert (await world.store.stored(job.id)).state is JobState.COMPLETED

    async def test_refused_by_its_budget_it_is_blocked(self, world):
        dead = await world.dead_letter()
        world.ledger.budget_nanousd = 0
        job = await world.retry(dead.id)
        assert (job.state, job.failure_reason) == (JobState.BLOCKED, "BUDGET_EXCEEDED")
        world.ledger.budget_nanousd = 10**18
        assert await world.unblock() == 1

    @pytest.mark.parametrize("away", ["ledger", "prices", "targets"])
    async def test_accepted_although_something_is_away(self, world, away):
        """The reaper repeats its admission."""
        dead = await world.dead_letter()
        kept = (world.prices.value, world.targets.value)
        world.ledger.is_away = away == "ledger"
        if away != "ledger":
            getattr(world, away).value = None
        assert (await world.retry(dead.id)).state is JobState.ADMITTING

        world.ledger.is_away = False
        world.prices.value, world.targets.value = kept
        await world.store.lapse(dead.id)
        await world.reap()
        await world.background.done()
        job = await world.store.stored(dead.id)
        assert (job.state, job.terms) == (JobState.PENDING, TERMS)
        assert list(world.ledger.holds) == [f"{dead.id}:2"]

    async def test_model_that_is_gone_changes_nothing(self, world):
        dead = await world.dead_letter()
        world.targets.value = (YOTTA,)
        with pytest.raises(ModelNotFound):
            await world.retry(dead.id, key="k1")
        assert await world.store.stored(dead.id) == dead
        world.targets.value = (LOCAL,)
        assert (await world.retry(dead.id, key="k1")).admission == 2

    async def test_full_queue_changes_nothing(self, world):
        """However it would come in, no more wait than may; the same key may try again."""
        dead = await world.dead_letter()
        waits = await world.create(a_submission())
        world.check_room.cap = 1
        for way in (world.retry, world.redrive):
            with pytest.raises(QueueFull):
                await way(dead.id, key="k1")
        assert await world.store.stored(dead.id) == dead
        assert await world.store.audited() == []

        await world.cancel("p1", waits.id)
        assert (await world.retry(dead.id, key="k1")).admission == 2
        assert (await world.retry(dead.id, key="k1")).admission == 2

    async def test_live_job_is_not_retried(self, world):
        job = await world.create(a_submission())
        with pytest.raises(JobNotFinished):
            await world.retry(job.id)

    async def test_completed_job_is_not_retried(self, world):
        job = await world.create(a_submission())
        await world.dispatch_all()
        with pytest.raises(JobNotRetryable):
            await world.retry(job.id)

    async def test_foreign_job_looks_absent(self, world):
        """X-Z1."""
        dead = await world.dead_letter()
        with pytest.raises(JobNotFound):
            await world.retry(dead.id, project_id="p2")
        for call in (world.redrive(dead.id, "p2"), world.get_dead_letter("p2", dead.id)):
            with pytest.raises(DeadLetterNotFound):
                await call
        with pytest.raises(DeadLetterNotFound):
            await world.purge("p2", dead.id, actor="user:u2")
        assert await world.store.stored(dead.id) == dead

    async def test_submission_with_the_same_key_finds_the_retried_job(self, world):
        """The key made this job, whichever admission it is in."""
        submission = a_submission(key="k1")
        job = await world.create(submission)
        await world.cancel("p1", job.id)
        await world.retry(job.id)
        again = await world.create(submission)
        assert (again.id, again.state, again.admission) == (job.id, JobState.PENDING, 2)

    async def test_the_same_key_retries_once(self, world):
        """B6: whatever becomes of it afterwards."""
        dead = await world.dead_letter()
        await world.retry(dead.id, key="k1")
        await world.cancel("p1", dead.id)
        assert (await world.retry(dead.id, key="k1")).state is JobState.CANCELLED
        assert (await world.retry(dead.id, key="k2")).admission == 3
        other = await world.dead_letter()
        with pytest.raises(IdempotencyKeyReused):
            await world.retry(other.id, key="k1")

    async def test_is_audited(self, world):
        dead, other = await world.dead_letter(), await world.dead_letter()
        await world.retry(dead.id)
        await world.retry(dead.id)
        await world.redrive(other.id)
        assert await world.store.audited() == [
            ("job.retried", "user:u1", f"job {dead.id}"),
            ("dead_letter.redriven", "user:u1", f"job {other.id}"),
        ]
        assert world.metrics.counts["retried dead_letter"] == 2


class TestRaces:
    async def test_redriven_at_once_it_is_held_once(self, world):
        """X-R22: however many ask, by whichever way; one new admission, one hold."""
        for _ in range(RACES):
            dead = await world.dead_letter()
            ways = [world.redrive, world.retry] * (RACERS // 2)
            jobs = await asyncio.gather(*(way(dead.id) for way in ways))
            assert {job.admission for job in jobs} == {2}
            assert [hold for hold in world.ledger.holds if dead.id in hold] == [f"{dead.id}:2"]
            assert (await world.store.events_of(dead.id)).count("retried") == 1
        assert world.metrics.counts["retried dead_letter"] == RACES

    async def test_purged_and_redriven_at_once_one_of_them_wins(self, world):
        for _ in range(RACES):
            dead = await world.dead_letter()
            purged, redriven = await asyncio.gather(
                world.purge("p1", dead.id, actor="user:u1"),
                world.redrive(dead.id),
                return_exceptions=True,
            )
            assert isinstance(purged, ServiceError) is not isinstance(redriven, ServiceError)
            job = await world.store.stored(dead.id)
            if isinstance(purged, ServiceError):
                assert (job.admission, job.specification) == (2, HELLO)
            else:
                assert (job.admission, job.specification.messages) == (1, ())


class TestLooking:
    async def test_pages_and_filters(self, world):
        """Those that died last come first, each once; nothing else comes."""
        other = replace(HELLO, type="implement_feature")
        dead = [await world.dead_letter() for _ in range(4)]
        feature = await world.dead_letter(specification=other)
        await world.dead_letter(project_id="p2")
        await world.retry(dead.pop().id)
        await world.create(a_submission())

        seen, after = [], None
        while page := await world.list_dead_letters(ALL, 2, after):
            seen += page
            after = DeadLetterPosition(page[-1].completed_at, page[-1].id)
        assert [job.id for job in seen] == [job.id for job in [feature, *reversed(dead)]]
        assert all(not job.specification.messages for job in seen)
        for which, count in (
            (replace(ALL, type="implement_feature"), 1),
            (replace(ALL, failure_reason="EXECUTION_FAILED"), 4),
            (replace(ALL, failure_reason="LOST_TOO_OFTEN"), 0),
        ):
            assert len(await world.list_dead_letters(which, 10, None)) == count

    async def test_evidence_is_whole(self, world):
        """C4: every attempt of every admission, every change, every charge."""
        job = await world.dead_letter()
        await world.redrive(job.id)
        async with world.store() as work:
            (claimed,) = await work.jobs.claim(1)
            went = await world.store_change(
                work, claimed, claimed.dispatched(Dispatching("local", "c2"))
            )
            back = await world.store_change(work, went, went.released())
            now = replace(back, max_retries=0).reaped(replace(world.policy, max_lost=1), "t")
            await world.store_change(work, back, now)

        found = await evidence_of(world, job)

        first, second = found.attempts
        assert found.attempts_total == 2
        assert (first.attempt, first.admission, first.outcome) == (1, 1, "dead_letter")
        assert (first.target, first.model, first.error) == ("local", "smol", "It broke.")
        assert first.started_at is not None
        assert first.finished_at is not None
        assert (second.attempt, second.admission, second.outcome) == (2, 2, "lost")
        assert (second.target, second.client_task_id) == ("local", "c2")
        assert None not in (second.dispatched_at, second.released_at)
        assert [change.type for change in found.changes] == await world.store.events_of(job.id)
        assert found.changes_total == len(found.changes)
        assert [(each.admission, each.voided, each.job_state) for each in found.charges] == [
            (1, True, "dead_letter"),
            (2, True, "dead_letter"),
        ]
        assert (await world.get_dead_letter("p1", job.id)).job.failure_reason == "LOST_TOO_OFTEN"

    async def test_evidence_is_bounded(self, world):
        job = await world.dead_letter()
        async with world.store() as work:
            found = await work.dead_letters.evidence(job.id, 1)
        assert [change.type for change in found.changes] == ["dead_letter"]
        assert (found.attempts_total, found.changes_total) == (1, 4)

    async def test_only_dead_letters_are_shown(self, world):
        job = await world.create(a_submission())
        for _ in range(2):
            with pytest.raises(DeadLetterNotFound):
                await world.get_dead_letter("p1", job.id)
            await world.dispatch_all()

    async def test_are_counted(self, world):
        first, second = await world.dead_letter(), await world.dead_letter()
        await world.dead_letter()
        await world.purge("p1", first.id, actor="user:u1")
        await world.retry(second.id)
        async with world.store() as work:
            assert (await work.jobs.depths()).dead_letters == 1


class TestRedrive:
    async def test_live_job_is_returned_as_it_is(self, world):
        dead = await world.dead_letter()
        first, again = await world.redrive(dead.id), await world.redrive(dead.id)
        assert (again.state, again.admission) == (first.state, first.admission)

    async def test_what_is_no_dead_letter_is_not_redriven(self, world):
        job = await world.create(a_submission())
        with pytest.raises(DeadLetterNotFound):
            await world.redrive(job.id)
        await world.cancel("p1", job.id)
        with pytest.raises(DeadLetterNotFound):
            await world.redrive(job.id)

    async def test_many_at_once(self, world):
        """The oldest first, no more than asked for; a repetition goes on with the others."""
        dead = [await world.dead_letter() for _ in range(5)]
        await world.dead_letter(project_id="p2")

        first = await world.redrive_many(ALL, 3, actor="key:k1", key="")
        rest = await world.redrive_many(ALL, 3, actor="key:k1", key="")
        await world.background.done()

        assert first.job_ids == [job.id for job in dead[:3]]
        assert rest.job_ids == [job.id for job in dead[3:]]
        assert sorted(world.ledger.holds) == sorted(f"{job.id}:2" for job in dead)
        assert [(await world.store.stored(job.id)).state for job in dead] == [JobState.PENDING] * 5
        assert {entry[:2] for entry in await world.store.audited()} == {
            ("dead_letter.redriven", "key:k1")
        }

    async def test_some_stay_and_say_why(self, world):
        gone = await world.dead_letter()
        dead = await world.dead_letter(specification=replace(HELLO, model="big"))
        world.targets.value = (YOTTA,)
        redriven = await world.redrive_many(ALL, 10, actor="user:u1", key="")
        assert redriven.job_ids == [dead.id]
        assert [(each.job_id, each.reason) for each in redriven.refusals] == [
            (gone.id, "MODEL_NOT_FOUND")
        ]
        await world.background.done()

    async def test_the_same_key_redrives_none_twice(self, world):
        key = "k" * 255
        dead = await world.dead_letter()
        assert (await world.redrive_many(ALL, 10, actor="user:u1", key=key)).job_ids == [dead.id]
        await world.background.done()
        async with world.store() as work:
            (job,) = await work.jobs.claim(1)
            now = job.reaped(replace(world.policy, max_lost=1), "t")
            await world.store_change(work, job, now)
        again = await world.redrive_many(ALL, 10, actor="user:u1", key=key)
        assert again.job_ids == [dead.id]
        assert (await world.store.stored(dead.id)).admission == 2

    async def test_the_same_key_is_the_same_selection(self, world):
        """Asked again: what was redriven, and none of the next ones, nor of those since."""
        dead = [await world.dead_letter() for _ in range(3)]
        ids = [job.id for job in dead]
        first = await world.redrive_many(ALL, 2, actor="user:u1", key="k1")
        again = await world.redrive_many(ALL, 2, actor="user:u1", key="k1")
        assert first.job_ids == again.job_ids == ids[:2]

        await world.redrive_many(ALL, 9, actor="user:u1", key="k1:a")
        # Postgres has a clock that goes by itself.
        getattr(world.store, "clock", world.clock).advance(1)
        await world.dead_letter()
        again = await world.redrive_many(ALL, 9, actor="user:u1", key="k1:a")
        assert again.job_ids == ids[2:]
        again = await world.redrive_many(ALL, 2, actor="user:u1", key="k1")
        assert again.job_ids == ids[:2]
        assert len(await world.list_dead_letters(ALL, 9, None)) == 1
        await world.background.done()

    async def test_the_same_key_goes_on_where_it_was_cut_off(self, world):
        """What is left of the selection, and all of it is told."""
        dead = [await world.dead_letter() for _ in range(4)]
        world.check_room.cap = 2
        first = await world.redrive_many(ALL, 3, actor="user:u1", key="k1")
        await world.background.done()
        world.check_room.cap = 9
        again = await world.redrive_many(ALL, 3, actor="user:u1", key="k1")
        await world.background.done()
        assert first.job_ids == [job.id for job in dead[:2]]
        assert again.job_ids == [job.id for job in dead[:3]]
        assert len(await world.store.audited()) == 3

    async def test_the_same_key_for_another_request_is_refused(self, world):
        await world.redrive_many(ALL, 2, actor="user:u1", key="k1")
        dead = await world.dead_letter()
        for which, limit in (
            (ALL, 3),
            (replace(ALL, type="generation_v2"), 2),
            (replace(ALL, failure_reason="EXECUTION_FAILED"), 2),
        ):
            with pytest.raises(IdempotencyKeyReused):
                await world.redrive_many(which, limit, actor="user:u1", key="k1")
        assert await world.store.stored(dead.id) == dead

    async def test_the_same_key_at_once_redrives_no_more_than_the_limit(self, world):
        dead = [await world.dead_letter() for _ in range(6)]
        told = await asyncio.gather(
            *(world.redrive_many(ALL, 3, actor="user:u1", key="k1") for _ in range(RACERS))
        )
        await world.background.done()
        assert [sorted(each.job_ids) for each in told] == [
            sorted(job.id for job in dead[:3])
        ] * RACERS
        assert len(await world.store.audited()) == 3

    async def test_those_redriven_by_others_are_not_told(self, world):
        """Of many at once, each belongs to whoever was first; with a key also later."""
        dead = [await world.dead_letter() for _ in range(6)]
        keys = ("k1", "k2", "")
        told = await asyncio.gather(
            *(world.redrive_many(ALL, 6, actor="user:u1", key=key) for key in keys)
        )
        await world.background.done()
        assert sorted(job_id for each in told for job_id in each.job_ids) == sorted(
            job.id for job in dead
        )
        for key, first in zip(keys[:2], told, strict=False):
            again = await world.redrive_many(ALL, 6, actor="user:u1", key=key)
            assert sorted(again.job_ids) == sorted(first.job_ids)

    async def test_refused_ones_hide_none_behind_them(self, world, monkeypatch):
        """It goes on until the limit is redriven; but no more are refused than may be."""
        gone = [await world.dead_letter() for _ in range(5)]
        big = replace(HELLO, model="big")
        dead = [await world.dead_letter(specification=big) for _ in range(3)]
        world.targets.value = (YOTTA,)

        redriven = await world.redrive_many(ALL, 2, actor="user:u1", key="")

        assert redriven.job_ids == [job.id for job in dead[:2]]
        assert [each.job_id for each in redriven.refusals] == [job.id for job in gone]
        monkeypatch.setattr(redrive_dead_letters, "MOST_REFUSED", 3)
        redriven = await world.redrive_many(ALL, 2, actor="user:u1", key="")
        assert (redriven.job_ids, len(redriven.refusals)) == ([], 3)
        await world.background.done()

    async def test_full_queue_takes_no_more_and_says_so(self, world):
        dead = [await world.dead_letter() for _ in range(5)]
        world.check_room.cap = 2
        redriven = await world.redrive_many(ALL, 4, actor="user:u1", key="")
        await world.background.done()
        assert redriven.job_ids == [job.id for job in dead[:2]]
        assert [(each.job_id, each.reason) for each in redriven.refusals] == [
            (job.id, "QUEUE_FULL") for job in dead[2:4]
        ]
        assert [await world.store.stored(job.id) for job in dead[2:]] == dead[2:]

    async def test_ledger_away_leaves_it_to_the_reaper(self, world):
        dead = await world.dead_letter()
        world.ledger.is_away = True
        assert (await world.redrive_many(ALL, 10, actor="user:u1", key="")).job_ids == [dead.id]
        await world.background.done()
        assert (await world.store.stored(dead.id)).state is JobState.ADMITTING


class TestPurge:
    async def test_content_goes_and_figures_stay(self, world):
        """C4: no prompt, no text about it; what it cost, and that it was, stays."""
        dead = await world.dead_letter()

        await world.purge("p1", dead.id, actor="user:u1")

        job = await world.store.stored(dead.id)
        assert (job.state, job.failure_reason) == (JobState.DEAD_LETTER, "EXECUTION_FAILED")
        assert (job.specification.messages, job.last_error, job.decision) == ((), None, None)
        assert job.purged_at is not None
        (attempt,) = await world.store.attempts_of(dead.id)
        assert (attempt["outcome"], attempt["target"], attempt["error"]) == (
            "dead_letter",
            "local",
            None,
        )
        assert await world.store.settlements() == {dead.hold_id: VOIDED}
        async with world.store() as work:
            assert await work.receipts.find(dead.id) is not None
        assert await world.store.audited() == [("dead_letter.purged", "user:u1", f"job {dead.id}")]
        assert world.metrics.counts["purged"] == 1

    async def test_is_a_dead_letter_no_more(self, world):
        dead = await world.dead_letter()
        await world.purge("p1", dead.id, actor="user:u1")
        assert await world.list_dead_letters(ALL, 10, None) == []
        assert (await world.redrive_many(ALL, 10, actor="user:u1", key="")).job_ids == []
        with pytest.raises(DeadLetterNotFound):
            await world.purge("p1", dead.id, actor="user:u1")
        with pytest.raises(DeadLetterNotFound):
            await world.redrive(dead.id)
        with pytest.raises(JobNotRetryable):
            await world.retry(dead.id)
