"""An attempt: its lease, its dispatch, its end, and everything that may come between."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from job_fakes import (
    ANSWER,
    CHAT,
    DECISION,
    EMBED,
    STARTED,
    TERMS,
    a_job,
    admitted,
    an_error,
    until,
)

from job_service.domain.charge import Usage, UsageSource
from job_service.domain.ending_job import INTERRUPTED
from job_service.domain.execution import Delta, Dispatching, Finished, FinishReason, Released
from job_service.domain.job_record import AMBIGUOUS
from job_service.domain.job_state import JobState
from job_service.domain.settlement import SettlementKind
from job_service.domain.specification import JobKind
from job_service.domain.targets import Target
from job_service.usecases.execute_attempt import StopReason, StopSignal
from service_kit.errors import ErrorCode, Unavailable

HALFWAY = (DECISION, STARTED, Delta("Hel", 2))
DISPATCHING = Dispatching("local", "task-1")


async def execute(world, job, stop=None, emit=lambda _: None):
    return await world.execute(job, stop or StopSignal(), emit)


async def stopped_after(world, reason, specification, *told):
    """Return an interactive job that was stopped once its router had told this much."""
    stop = StopSignal()

    async def ask():
        stop.ask(reason)

    world.executor.play((DECISION, *told, ask, asyncio.Event()))
    waiting = a_job(JobKind.INTERACTIVE, specification=specification)
    return await execute(world, await admitted(world.store, waiting), stop)


async def only_settlement(world, job):
    found = await world.store.settlements()
    assert list(found) == [job.hold_id]
    kind, amount, _ = found[job.hold_id]
    return kind, amount


class TestEnd:
    async def test_answer_is_stored_and_charged(self, world):
        job = await world.claimed()
        ended = await execute(world, job)

        assert (ended.state, ended.result_text) == (JobState.COMPLETED, "Hello!")
        assert await only_settlement(world, job) == (SettlementKind.POST, 33 * 1_000_000)
        (attempt,) = await world.store.attempts_of(job.id)
        assert attempt["outcome"] == "completed"
        assert world.hints.said["settlement"] == 1

    async def test_events_reach_the_listener_before_the_end_is_stored(self, world):
        seen = []
        await execute(world, await world.claimed(), emit=seen.append)
        assert seen == list(ANSWER)

    @pytest.mark.parametrize(
        ("usage", "charge", "source"),
        [
            (Usage(0, 0), 0, UsageSource.REPORTED),
            (None, (2 + 3) * 1_000_000, UsageSource.COUNTED),
            (Usage(-5, 3), (2 + 3) * 1_000_000, UsageSource.COUNTED),
            (Usage(2**62, 2**62), (2 + 3) * 1_000_000, UsageSource.COUNTED),
            (Usage(60, 120), TERMS.hold_nanousd, UsageSource.REPORTED),
        ],
    )
    async def test_usage_is_judged(self, world, usage, charge, source):
        """X-P7, X-P12: no report makes a charge above the hold or below zero."""
        world.executor.play((*ANSWER[:-1], Finished(FinishReason.STOP, usage)))
        job = await world.claimed()
        ended = await execute(world, job)

        assert (ended.charge_nanousd, ended.usage_source) == (charge, source)
        assert await only_settlement(world, job) == (SettlementKind.POST, charge)

    async def test_excess_over_the_hold_is_flagged(self, world):
        world.executor.play((*ANSWER[:-1], Finished(FinishReason.STOP, Usage(60, 120))))
        await execute(world, await world.claimed())
        assert world.metrics.counts["excess"] == 1

    async def test_price_change_meanwhile_does_not_matter(self, world):
        """X-M6: the price at admission is charged."""
        job = await world.claimed()
        world.prices.value = replace(world.prices.value, version="2", prices=())
        ended = await execute(world, job)
        assert ended.charge_nanousd == 33 * 1_000_000
        assert ended.terms.price_version == "1"

    async def test_stream_without_an_end_is_an_error(self, world):
        world.executor.play(HALFWAY)
        ended = await execute(world, await world.claimed())
        assert (ended.state, ended.failure_reason) == (JobState.RETRYING, "EXECUTION_FAILED")


class TestErrors:
    async def test_no_capacity_hands_the_job_back(self, world):
        world.executor.play((an_error("NO_CAPACITY", ErrorCode.RESOURCE_EXHAUSTED),))
        job = await world.claimed()
        ended = await execute(world, job)
        assert (ended.state, ended.retry_count) == (JobState.PENDING, 0)
        assert await world.store.settlements() == {}
        (attempt,) = await world.store.attempts_of(job.id)
        assert attempt["outcome"] == "handed_back"

    async def test_retries_are_kept_with_their_evidence(self, world):
        """Every attempt of a dead letter can be looked at."""
        world.executor.play((*HALFWAY, an_error("EXECUTION_FAILED")))
        job = await world.claimed(max_retries=2)
        ended = await execute(world, job)
        while ended.state is JobState.RETRYING:
            await world.store.make_due(job.id)
            async with world.store() as work:
                (again,) = await work.jobs.claim(1)
            ended = await execute(world, again)

        assert (ended.state, ended.attempt) == (JobState.DEAD_LETTER, 3)
        outcomes = [each["outcome"] for each in await world.store.attempts_of(job.id)]
        assert outcomes == ["retrying", "retrying", "dead_letter"]
        assert await only_settlement(world, job) == (SettlementKind.VOID, 0)

    async def test_model_that_is_merely_away_is_waited_for(self, world):
        """Its worker restarts: the model was listed a moment ago."""
        world.executor.play((an_error("MODEL_NOT_SERVED", ErrorCode.NOT_FOUND),))
        ended = await execute(world, await world.claimed())
        assert ended.state is JobState.PENDING

    async def test_target_s_own_refusal_stays(self, world):
        """A decision was made: somebody was asked, and knows the model no more."""
        refusal = an_error("MODEL_NOT_SERVED", ErrorCode.NOT_FOUND)
        world.executor.play((DECISION, refusal))
        ended = await execute(world, await world.claimed())
        assert (ended.state, ended.failure_reason) == (JobState.FAILED, "MODEL_NOT_SERVED")

    async def test_target_is_left_alone_for_as_long_as_it_asks(self, world):
        error = an_error("TARGET_UNAVAILABLE", ErrorCode.UNAVAILABLE)
        error.retry_after = timedelta(seconds=20)
        world.executor.play((error,))
        job = await world.claimed()
        await execute(world, job)
        assert world.store.tables.available_at[job.id] >= world.clock.now() + error.retry_after

    async def test_model_that_nobody_lists_fails(self, world):
        world.executor.play((an_error("MODEL_NOT_SERVED", ErrorCode.NOT_FOUND),))
        job = await world.claimed()
        world.targets.value = (Target("local", paid=False, models=()),)
        ended = await execute(world, job)
        assert (ended.state, ended.failure_reason) == (JobState.FAILED, "MODEL_NOT_SERVED")
        assert await only_settlement(world, job) == (SettlementKind.VOID, 0)


class TestDispatch:
    async def test_go_follows_the_commit(self, world):
        """When the prompt may be paid for, the database knows."""
        job = await world.claimed()
        committed = []

        async def look():
            committed.append((await world.store.stored(job.id)).dispatch)

        world.executor.play((DECISION, DISPATCHING, look, STARTED, *ANSWER[2:]))
        ended = await execute(world, job)

        assert world.executor.streams[0].gone_to == ["task-1"]
        assert committed[0].client_task_id == "task-1"
        assert ended.state is JobState.COMPLETED
        assert ended.provider_cost_nanousd == 33 * 1_000_000

    async def test_release_is_committed_before_the_next_target(self, world):
        job = await world.claimed()
        released = Released("local", "task-1", "429")
        again = Dispatching("yotta", "task-2")
        world.executor.play((DECISION, DISPATCHING, released, again, STARTED, *ANSWER[2:]))
        ended = await execute(world, job)
        assert world.executor.streams[0].gone_to == ["task-1", "task-2"]
        assert ended.dispatch.client_task_id == "task-2"
        events = await world.store.events_of(job.id)
        assert events[3:] == ["dispatched", "released", "dispatched", "completed"]

    async def test_cancelled_job_is_let_go_instead(self, world):
        """X-R23: asked to stop before `Go`, no paid target is asked and nothing is owed."""
        job = await world.claimed()

        async def cancel():
            await world.cancel(job.project_id, job.id)

        world.executor.play((DECISION, cancel, DISPATCHING, asyncio.Event()))
        ended = await execute(world, job)

        assert world.executor.streams[0].gone_to == []
        assert (ended.state, ended.provider_cost_nanousd) == (JobState.CANCELLED, 0)
        assert await only_settlement(world, job) == (SettlementKind.VOID, 0)
        events = await world.store.events_of(job.id)
        assert events[-4:] == ["cancel_requested", "dispatched", "released", "cancelled"]

    async def test_lost_lease_gives_no_go(self, world):
        """X-R2: who lost the lease spends no money."""
        job = await world.claimed()

        async def lose():
            await world.store.lapse(job.id)
            await world.reap()

        world.executor.play((DECISION, lose, DISPATCHING, STARTED, *ANSWER[2:]))
        assert await execute(world, job) is None
        assert world.executor.streams[0].gone_to == []
        assert (await world.store.stored(job.id)).state is JobState.PENDING

    async def test_failure_after_go_is_ambiguous(self, world):
        world.executor.play((DISPATCHING, an_error("EXECUTION_FAILED")))
        job = await world.claimed()
        ended = await execute(world, job)
        assert (ended.state, ended.failure_reason) == (JobState.FAILED, AMBIGUOUS)
        assert await only_settlement(world, job) == (SettlementKind.VOID, 0)
        (attempt,) = await world.store.attempts_of(job.id)
        assert attempt["provider_cost_nanousd"] == TERMS.hold_nanousd

    async def test_database_away_at_dispatch_gives_no_go(self, world):
        """Nothing was paid, so the job simply waits again."""

        async def away():
            world.store.is_away = True
            asyncio.get_running_loop().call_later(0.05, setattr, world.store, "is_away", False)

        world.executor.play((DECISION, away, DISPATCHING, STARTED, *ANSWER[2:]))
        job = await world.claimed()
        ended = await execute(world, job)
        assert world.executor.streams[0].gone_to == []
        assert ended.state is JobState.PENDING


class TestLease:
    async def test_renewals_keep_it(self, world):
        """A long answer keeps its lease, and stores how far it is."""
        go_on = asyncio.Event()
        world.executor.play((*HALFWAY, go_on, *ANSWER[3:]))
        job = await world.claimed()
        running = asyncio.ensure_future(execute(world, job))
        await world.store.lapse(job.id)
        await until(lambda: world.store.job(job.id).tokens_counted == 2)
        assert await world.reap() == 0
        go_on.set()
        assert (await running).state is JobState.COMPLETED

    async def test_lost_lease_stops_the_engine_and_discards(self, world):
        """X-R2: somebody else owns the job now; nothing of this attempt counts."""
        world.executor.play((*HALFWAY, asyncio.Event()))
        job = await world.claimed()
        running = asyncio.ensure_future(execute(world, job))
        await world.store.lapse(job.id)
        # In one go, so that no renewal comes between.
        async with world.store() as work:
            (lapsed,) = await work.jobs.lock_lapsed(1)
            await work.jobs.save(lapsed, lapsed.reaped(world.policy, "t2"))

        assert await running is None
        assert world.executor.streams[0].stopped.is_set()
        assert world.metrics.counts["lease lost"] == 1
        assert await world.store.settlements() == {}

    async def test_late_finish_is_discarded(self, world):
        """X-R2: the attempt ended, but the reaper was first, and the second attempt counts."""
        job = await world.claimed()

        async def reaped_meanwhile():
            await world.store.lapse(job.id)
            await world.reap()

        world.executor.play((*ANSWER[:-1], reaped_meanwhile, ANSWER[-1]), ANSWER)
        world.execute = replace(world.execute, renew_seconds=60)
        assert await world.execute(job, StopSignal()) is None
        assert (await world.store.stored(job.id)).state is JobState.PENDING

        async with world.store() as work:
            (second,) = await work.jobs.claim(1)
        assert (await world.execute(second, StopSignal())).state is JobState.COMPLETED
        assert await only_settlement(world, job) == (SettlementKind.POST, 33 * 1_000_000)

    async def test_old_token_can_not_finish_a_running_attempt(self, world):
        """The state is `running` again, for somebody else: only the token tells."""
        first = await world.claimed()
        await world.store.lapse(first.id)
        await world.reap()
        async with world.store() as work:
            (second,) = await work.jobs.claim(1)
        # Even with the attempt's number guessed right.
        stale = replace(first, attempt=second.attempt)

        assert await execute(world, stale) is None
        stored = await world.store.stored(first.id)
        assert (stored.state, stored.lease_token) == (JobState.RUNNING, second.lease_token)
        assert await world.store.settlements() == {}

    async def test_lost_reply_to_the_finish_is_found_again(self, world):
        """X-R4: the commit was ours, so its result stands."""
        job = await world.claimed()

        async def lose():
            world.store.lose_next_reply = True

        world.executor.play((*ANSWER[:-1], lose, ANSWER[-1]))
        world.execute = replace(world.execute, renew_seconds=60)
        ended = await world.execute(job, StopSignal())
        assert (ended.id, ended.state) == (job.id, JobState.COMPLETED)
        assert await only_settlement(world, job) == (SettlementKind.POST, 33 * 1_000_000)
        assert (await world.store.events_of(job.id)).count("completed") == 1

    async def test_finish_waits_for_the_database(self, world):
        """X-R9: an answer survives a restart of Postgres."""

        async def away():
            world.store.is_away = True
            asyncio.get_running_loop().call_later(0.3, setattr, world.store, "is_away", False)

        world.executor.play((*ANSWER[:-1], away, ANSWER[-1]))
        ended = await execute(world, await world.claimed())
        assert ended.state is JobState.COMPLETED

    async def test_finish_gives_up_in_the_end(self, world):
        """The lease lapses, and the reaper decides."""

        async def away():
            world.store.is_away = True
            asyncio.get_running_loop().call_later(0.1, world.clock.advance, 31)

        world.executor.play((*ANSWER[:-1], away, ANSWER[-1]))
        job = await world.claimed()
        with pytest.raises(Unavailable):
            await execute(world, job)


class TestStop:
    async def test_cancel_request_stops_the_engine(self, world):
        """The lease holder sees it at its next renewal, and charges what was made."""
        world.executor.play((*HALFWAY, asyncio.Event()))
        job = await world.claimed()
        running = asyncio.ensure_future(execute(world, job))
        await until(lambda: world.store.job(job.id).tokens_counted == 2)
        await world.cancel("p1", job.id)

        ended = await running
        assert (ended.state, ended.result_text) == (JobState.CANCELLED, "Hel")
        assert await only_settlement(world, job) == (SettlementKind.POST, (2 + 2) * 1_000_000)

    async def test_answer_that_was_ready_beats_the_cancel_request(self, world):
        """X-R23: one terminal state."""
        job = await world.claimed()

        async def cancel():
            await world.cancel("p1", job.id)

        world.executor.play((*ANSWER[:-1], cancel, ANSWER[-1]))
        world.execute = replace(world.execute, renew_seconds=60)
        ended = await world.execute(job, StopSignal())
        assert ended.state is JobState.COMPLETED

    @pytest.mark.parametrize("reason", [StopReason.CALLER_GONE, StopReason.CANCEL_REQUESTED])
    @pytest.mark.parametrize("specification", [CHAT, EMBED], ids=["chat", "embedding"])
    async def test_prompt_that_a_paid_target_read_is_charged(self, world, reason, specification):
        """Leaving before the first word is no way to have it for nothing."""
        ended = await stopped_after(world, reason, specification, DISPATCHING, STARTED)
        tokens = -(-specification.content_bytes // 4)
        assert (ended.state, ended.usage) == (JobState.CANCELLED, Usage(tokens, 0))
        assert ended.usage_source is UsageSource.COUNTED
        assert await only_settlement(world, ended) == (SettlementKind.POST, tokens * 1_000_000)

    @pytest.mark.parametrize(
        ("reason", "told"),
        [
            (StopReason.SHUTDOWN, (DISPATCHING, STARTED)),
            (StopReason.CALLER_GONE, (DISPATCHING,)),
            (StopReason.CALLER_GONE, (STARTED,)),
        ],
        ids=["our own wish", "not started", "not paid"],
    )
    async def test_else_an_unanswered_prompt_costs_nothing(self, world, reason, told):
        ended = await stopped_after(world, reason, CHAT, *told)
        assert await only_settlement(world, ended) == (SettlementKind.VOID, 0)

    async def test_asked_before_it_began_runs_nothing(self, world):
        stop = StopSignal()
        stop.ask(StopReason.CALLER_GONE)
        ended = await execute(world, await world.claimed(), stop)
        assert ended.state is JobState.CANCELLED
        assert world.executor.jobs == []

    @pytest.mark.parametrize("kind", JobKind)
    async def test_shutdown_leaves_every_job_in_order(self, world, kind):
        """Queued work is handed back; a waiting caller is told, and pays what it got."""
        world.executor.play((*HALFWAY, asyncio.Event()))
        if kind is JobKind.QUEUED:
            job = await world.claimed()
        else:
            job = await admitted(world.store, a_job(kind))
        stop, seen = StopSignal(), []
        running = asyncio.ensure_future(execute(world, job, stop, seen.append))
        await until(lambda: len(seen) == 3)
        stop.ask(StopReason.SHUTDOWN)

        ended = await running
        if kind is JobKind.QUEUED:
            assert (ended.state, ended.lost_count) == (JobState.PENDING, 0)
        else:
            assert (ended.state, ended.failure_reason) == (JobState.FAILED, INTERRUPTED)
            assert ended.charge_nanousd == (2 + 2) * 1_000_000
