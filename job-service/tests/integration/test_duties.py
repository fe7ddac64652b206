"""The loops: dispatch, reap, relay, reconcile. On both stores."""

import asyncio
import itertools
import os
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from job_fakes import (
    ANSWER,
    BLOCKED_MAX_SECONDS,
    DECISION,
    LEASE_SECONDS,
    STARTED,
    TERMS,
    a_job,
    a_submission,
    admitted,
    an_error,
    until,
)

from job_service.domain.ending_job import INTERRUPTED
from job_service.domain.execution import Delta, Dispatching, Progress
from job_service.domain.job_record import AMBIGUOUS
from job_service.domain.job_state import JobState
from job_service.domain.settlement import SettlementKind
from job_service.domain.specification import JobKind
from job_service.usecases import dispatch_jobs, expire_blocked
from job_service.usecases.execute_attempt import StopSignal
from service_kit.errors import ErrorCode

# 1,000 take a minute: WEIR_TEST_SCALE=40.
CANCEL_RACES = 25 * int(os.environ.get("WEIR_TEST_SCALE", "1"))
NO_CAPACITY = an_error("NO_CAPACITY", ErrorCode.RESOURCE_EXHAUSTED)


class TestDispatch:
    async def test_queued_jobs_are_run_and_charged(self, world):
        jobs = [await world.create(a_submission()) for _ in range(20)]
        await world.dispatch_all()
        await world.relay()
        for job in jobs:
            assert (await world.store.stored(job.id)).state is JobState.COMPLETED
            assert world.ledger.settled[job.hold_id] == ("post", 33 * 1_000_000)

    async def test_no_more_than_there_are_places(self, world):
        world.executor.play((asyncio.Event(),))
        for _ in range(12):
            await world.create(a_submission())
        assert await world.dispatch() == 8
        assert await world.dispatch() == 0
        for stream in world.executor.streams:
            stream.stop()
        for task in world.background.tasks:
            task.cancel()

    async def test_full_router_is_asked_little(self, world):
        """Jobs without capacity go back; the next round tries one, not all."""
        world.executor.play((NO_CAPACITY,))
        for _ in range(8):
            await world.create(a_submission())
        assert await world.dispatch() == 8
        await world.background.done()
        assert world.dispatch.places.limit == 1
        assert world.hints.said["place"] == 0

    async def test_places_grow_again(self, world):
        world.dispatch.places.limit = 1
        world.clock.advance(2)
        for _ in range(8):
            await world.create(a_submission())
        await world.dispatch_all()
        assert world.dispatch.places.limit == 8

    async def test_stopped_dispatcher_claims_nothing(self, world):
        await world.create(a_submission())
        world.dispatch.stop_claiming()
        assert await world.dispatch() == 0

    async def test_drain_hands_running_work_back(self, world):
        """X-R19: what does not finish in time is somebody else's at once."""
        world.executor.play((DECISION, STARTED, asyncio.Event()))
        job = await world.create(a_submission())
        await world.dispatch()
        await until(lambda: world.executor.streams)
        world.dispatch.stop_claiming()
        await world.live.drain(0.05)
        await world.background.done()
        stored = await world.store.stored(job.id)
        assert (stored.state, stored.lost_count) == (JobState.PENDING, 0)


class TestTargetsAway:
    """X-P15: every target is open or unavailable."""

    async def test_queued_work_waits_with_its_hold(self, world):
        """However often it is offered: no retry is used up, and it runs once a target is back."""
        world.executor.play((an_error("TARGET_UNAVAILABLE", ErrorCode.UNAVAILABLE),))
        job = await world.create(a_submission(max_retries=0))
        for _ in range(10):
            await world.store.make_due(job.id)
            assert await world.dispatch() == 1
            await world.background.done()
        stored = await world.store.stored(job.id)
        assert (stored.state, stored.retry_count, stored.waits) == (JobState.PENDING, 0, 10)
        assert await world.reconcile() == 0
        assert (await world.store.settlements(), world.ledger.settled) == ({}, {})

        world.executor.play(ANSWER)
        await world.store.make_due(job.id)
        await world.dispatch_all()
        await world.relay()
        assert world.ledger.settled == {job.hold_id: ("post", 33 * 1_000_000)}

    async def test_cancelled_meanwhile_it_lets_its_hold_go(self, world):
        world.executor.play((an_error("TARGET_UNAVAILABLE", ErrorCode.UNAVAILABLE),))
        job = await world.create(a_submission())
        await world.dispatch()
        await world.background.done()
        await world.cancel("p1", job.id)
        await world.relay()
        assert world.ledger.settled == {job.hold_id: ("void", 0)}


class TestTurns:
    async def test_each_round_begins_with_the_next_project(self, world):
        """One place, jobs that end at once: no project is served twice in a row."""
        world.dispatch.places.most = world.dispatch.places.limit = 1
        for project_id in ("p1", "p1", "p1", "p2", "p2"):
            await world.create(a_submission(project_id=project_id))
        await world.dispatch_all()
        order = [job.project_id for job in world.executor.jobs]
        assert order == ["p1", "p2", "p1", "p2", "p1"]

    async def test_large_share_is_claimed_in_rounds(self, world, monkeypatch):
        """The next one comes at once."""
        monkeypatch.setattr(dispatch_jobs, "MOST_AT_ONCE", 2)
        for _ in range(3):
            await world.create(a_submission())
        assert await world.dispatch() == 2
        assert world.hints.said["place"] == 1
        assert await world.dispatch() == 1
        await world.background.done()


class TestExpireBlocked:
    async def blocked(self, world, seconds=BLOCKED_MAX_SECONDS + 1):
        budget, world.ledger.budget_nanousd = world.ledger.budget_nanousd, 0
        job = await world.create(a_submission())
        await world.store.age_blocked(job.id, seconds)
        world.ledger.budget_nanousd = budget
        return job

    async def test_fails_with_its_void(self, world):
        """C6: in one transaction, like every end."""
        job = await self.blocked(world)
        assert await world.expire_blocked() == 1
        stored = await world.store.stored(job.id)
        assert (stored.state, stored.failure_reason) == (JobState.FAILED, "BUDGET_WAIT_EXPIRED")
        assert stored.completed_at is not None
        assert (await world.store.settlements()) == {job.hold_id: (SettlementKind.VOID, 0, False)}
        assert (await world.store.events_of(job.id))[-1] == "failed"
        assert world.hints.said["settlement"] == 1
        assert await world.unblock() == 0

    async def test_who_waits_for_less_goes_on_waiting(self, world):
        job = await self.blocked(world, BLOCKED_MAX_SECONDS - 60)
        assert await world.expire_blocked() == 0
        assert await world.unblock() == 1
        await world.store.age_blocked(job.id, 10 * BLOCKED_MAX_SECONDS)
        assert await world.expire_blocked() == 0

    async def test_many_end_in_one_round(self, world, monkeypatch):
        monkeypatch.setattr(expire_blocked, "BATCH", 2)
        for _ in range(5):
            await self.blocked(world)
        assert await world.expire_blocked() == 5

    async def test_two_replicas_end_each_once(self, world):
        jobs = [await self.blocked(world) for _ in range(5)]
        ended = await asyncio.gather(*(world.expire_blocked() for _ in range(4)))
        assert sum(ended) == 5
        for job in jobs:
            assert (await world.store.events_of(job.id)).count("failed") == 1

    async def test_hold_that_is_granted_at_the_same_moment_is_let_go(self, world):
        """Whichever of the two comes first, one of them counts, and nothing stays held."""
        jobs = [await self.blocked(world) for _ in range(5)]
        await asyncio.gather(world.unblock(), world.expire_blocked())
        while await world.relay():
            pass
        for job in jobs:
            stored = await world.store.stored(job.id)
            if stored.state is JobState.PENDING:
                assert job.hold_id in world.ledger.holds
            else:
                assert stored.failure_reason == "BUDGET_WAIT_EXPIRED"
                assert world.ledger.settled[job.hold_id] == ("void", 0)


class TestReap:
    async def running(self, world, kind, *, dispatched=False, tokens=0, cancel=False):
        if kind is JobKind.QUEUED:
            job = await world.claimed()
        else:
            job = await admitted(world.store, a_job(kind))
        async with world.store() as work:
            if tokens:
                progress = _progress(DECISION, STARTED, Delta("x", tokens))
                assert await work.jobs.renew(job, progress) is False
            if dispatched:
                dispatched_job = job.dispatched(Dispatching("local", "t1"))
                job = await world.store_change(work, job, dispatched_job)
            if cancel:
                await world.store_change(work, job, job.cancellation_requested())
        await world.store.lapse(job.id)
        return job

    @pytest.mark.parametrize("kind", JobKind)
    @pytest.mark.parametrize("dispatched", [False, True])
    @pytest.mark.parametrize("cancel", [False, True])
    @pytest.mark.parametrize("tokens", [0, 7])
    async def test_decisions(self, world, kind, dispatched, cancel, tokens):
        """Every lapsed job goes on as the protocol's table says, with its settlement."""
        job = await self.running(world, kind, dispatched=dispatched, tokens=tokens, cancel=cancel)
        assert await world.reap() == 1
        stored = await world.store.stored(job.id)
        settlements = await world.store.settlements()
        used = (SettlementKind.POST, (2 + 7) * 1_000_000, False)
        unused = (SettlementKind.VOID, 0, False)
        if cancel:
            assert stored.state is JobState.CANCELLED
            assert settlements == {job.hold_id: used if tokens else unused}
        elif dispatched:
            assert (stored.state, stored.failure_reason) == (JobState.FAILED, AMBIGUOUS)
            assert settlements == {job.hold_id: unused}
        elif kind is JobKind.QUEUED:
            assert (stored.state, stored.lost_count) == (JobState.PENDING, 1)
            assert settlements == {}
        else:
            assert (stored.state, stored.failure_reason) == (JobState.FAILED, INTERRUPTED)
            assert settlements == {job.hold_id: used if tokens else unused}
        (attempt,) = await world.store.attempts_of(job.id)
        assert attempt["outcome"] is not None
        assert attempt["tokens_output"] == tokens

    async def test_renewal_and_reaper_never_both_win(self, world):
        """X-R2: the row's lock decides; who came second sees it."""
        for _ in range(10):
            job = await world.claimed()
            await world.store.lapse(job.id)

            async def renew(job=job):
                async with world.store() as work:
                    return await work.jobs.renew(job, _progress())

            renewed, reaped = await asyncio.gather(renew(), world.reap())
            stored = await world.store.stored(job.id)
            if renewed is None:
                assert reaped == 1
                assert stored.state is JobState.PENDING
            else:
                assert stored.lease_token == job.lease_token or reaped == 1
            if reaped:
                # Taken out of the queue, so that the next round has one job only.
                await world.cancel("p1", job.id)
            else:
                assert stored.state is JobState.RUNNING
                async with world.store() as work:
                    await world.store_change(work, stored, stored.completed(_progress(*ANSWER)))

    async def test_two_reapers_move_a_job_once(self, world):
        job = await self.running(world, JobKind.QUEUED)
        moved = await asyncio.gather(world.reap(), replace_reaper(world)())
        assert sum(moved) == 1
        assert (await world.store.stored(job.id)).lost_count == 1

    async def test_frozen_replica_that_wakes_up_changes_nothing(self, world):
        """X-R2: it finishes late, while the next attempt runs; its usage is discarded."""
        first = await world.claimed()
        await world.store.lapse(first.id)
        await world.reap()
        async with world.store() as work:
            (second,) = await work.jobs.claim(1)

        assert await world.execute(first, StopSignal()) is None
        stored = await world.store.stored(first.id)
        assert (stored.state, stored.lease_token) == (JobState.RUNNING, second.lease_token)
        assert await world.store.settlements() == {}
        assert (await world.execute(second, StopSignal())).state is JobState.COMPLETED
        assert len(await world.store.settlements()) == 1

    async def test_waits_one_lease_after_the_database_was_away(self, world):
        """While it was away nobody could renew."""
        job = await self.running(world, JobKind.QUEUED)
        world.clock.advance(8)
        assert await world.reap() == 0
        world.clock.advance(LEASE_SECONDS - 4)
        assert await world.reap() == 0
        world.clock.advance(5)
        await world.store.lapse(job.id)
        assert await world.reap() == 1

    async def test_database_that_froze_in_the_middle_is_not_believed(self, world):
        """Its leases are over because nobody could renew them meanwhile."""
        job = await self.running(world, JobKind.QUEUED)
        transactions = itertools.count()

        @asynccontextmanager
        async def freezing():
            async with world.store() as work:
                if next(transactions) == 1:
                    world.clock.advance(30)
                yield work

        world.reap.unit_of_work = freezing
        assert await world.reap() == 0
        assert (await world.store.stored(job.id)).state is JobState.RUNNING

    async def test_waits_one_lease_after_a_start(self, world):
        await self.running(world, JobKind.QUEUED)
        fresh = replace_reaper(world, seen=False)
        assert await fresh() == 0

    async def test_poison_ends_as_a_dead_letter(self, world):
        """X-R21: exactly `max_lost` executions, with the evidence of each."""
        job = await self.running(world, JobKind.QUEUED)
        for _ in range(world.policy.max_lost - 1):
            await world.reap()
            await world.store.make_due(job.id)
            async with world.store() as work:
                await work.jobs.claim(1)
            await world.store.lapse(job.id)
        await world.reap()
        stored = await world.store.stored(job.id)
        assert (stored.state, stored.attempt) == (JobState.DEAD_LETTER, world.policy.max_lost)
        found = (await world.get_dead_letter("p1", job.id)).evidence
        assert [(each.attempt, each.outcome) for each in found.attempts] == [
            (number, "lost") for number in range(1, world.policy.max_lost + 1)
        ]
        assert all(each.error and each.finished_at for each in found.attempts)
        assert [change.type for change in found.changes].count("running") == world.policy.max_lost
        async with world.store() as work:
            assert await work.jobs.claim(10) == []


class TestCancelRace:
    async def test_cancel_races_with_completion(self, world):
        """X-R23: one terminal state, post or void, never both, never neither."""
        for _ in range(CANCEL_RACES):
            job = await world.claimed()
            ended, _ = await asyncio.gather(
                world.execute(job, StopSignal()),
                world.cancel("p1", job.id),
                return_exceptions=True,
            )
            stored = await world.store.stored(job.id)
            assert stored.state in (JobState.COMPLETED, JobState.CANCELLED)
            assert ended.state is stored.state
            events = await world.store.events_of(job.id)
            assert sum(event in ("completed", "cancelled") for event in events) == 1
            assert job.hold_id in await world.store.settlements()

    async def test_cancel_reaches_a_job_that_goes_back_to_waiting(self, world):
        """Asked for while it ran, by somebody whom the attempt never heard: it ends with it."""
        job = await world.claimed()
        await world.cancel("p1", job.id)
        world.executor.play((NO_CAPACITY,))

        ended = await world.execute(job, StopSignal())

        assert ended.state is JobState.CANCELLED
        stored = await world.store.stored(job.id)
        assert (stored.state, stored.charge_nanousd) == (JobState.CANCELLED, None)
        assert (await world.store.events_of(job.id))[-3:] == [
            "cancel_requested",
            "pending",
            "cancelled",
        ]
        assert (await world.store.settlements())[job.hold_id][:2] == (SettlementKind.VOID, 0)

    async def test_cancel_races_with_a_claim(self, world):
        for _ in range(CANCEL_RACES):
            job = await admitted(world.store, a_job())

            async def claim():
                async with world.store() as work:
                    return list(await work.jobs.claim(1))

            claimed, cancelled = await asyncio.gather(claim(), world.cancel("p1", job.id))
            stored = await world.store.stored(job.id)
            if cancelled.state is JobState.CANCELLED:
                assert claimed == []
                assert stored.state is JobState.CANCELLED
            else:
                assert stored.cancel_requested
                ended = await world.execute(claimed[0], StopSignal())
                assert ended.state.is_final


class TestRelay:
    async def ended(self, world):
        job = await world.claimed()
        return await world.execute(job, StopSignal())

    async def test_sends_once(self, world):
        job = await self.ended(world)
        assert await world.relay() == 1
        assert await world.relay() == 0
        assert world.ledger.calls == [("post", job.hold_id)]

    async def test_killed_after_the_post_sends_again(self, world):
        """X-R8: at least once, and the ledger books once."""
        job = await self.ended(world)
        async with world.store() as work:
            (settlement,) = await work.settlements.claim(10, 15.0)
        await world.ledger.settle(settlement)
        await world.store.make_settlement_due(job.hold_id)

        assert await world.relay() == 1
        assert world.ledger.calls.count(("post", job.hold_id)) == 2
        assert world.ledger.settled == {job.hold_id: ("post", job.charge_nanousd)}

    async def test_racing_relays_send_each_once(self, world):
        jobs = [await self.ended(world) for _ in range(10)]
        await asyncio.gather(*(world.relay() for _ in range(4)))
        assert sorted(hold for _, hold in world.ledger.calls) == sorted(j.hold_id for j in jobs)

    async def test_poisoned_row_blocks_nobody(self, world):
        """It is tried again, slowly, and counted."""
        poison, good = await self.ended(world), await self.ended(world)
        refusal = an_error("INVALID_ARGUMENT", ErrorCode.INVALID_ARGUMENT)
        world.ledger.refuse_settling[poison.hold_id] = refusal
        await world.relay()
        settlements = await world.store.settlements()
        assert not settlements[poison.hold_id][2]
        assert settlements[good.hold_id][2]
        assert world.metrics.counts["settlement refused"] == 1
        assert await world.relay() == 0

        world.ledger.refuse_settling.clear()
        await world.store.make_settlement_due(poison.hold_id)
        assert await world.relay() == 1

    async def test_ledger_away_is_no_refusal(self, world):
        job = await self.ended(world)
        world.ledger.is_away = True
        assert await world.relay() == 0
        assert world.metrics.counts["settlement refused"] == 0
        world.ledger.is_away = False
        await world.store.make_settlement_due(job.hold_id)
        assert await world.relay() == 1


class TestReconcile:
    async def test_live_job_keeps_its_hold(self, world):
        await world.create(a_submission())
        assert await world.reconcile() == 0

    async def test_admitting_job_keeps_its_hold(self, world):
        """Killed between b and c: the reaper goes on with it."""
        async with world.store() as work:
            job = await work.jobs.add(a_job())
        await world.ledger.place_hold(job)
        assert await world.reconcile() == 0

    async def test_hold_of_an_unknown_job_is_voided(self, world):
        await world.ledger.place_hold(a_job(id="j9"))
        assert await world.reconcile() == 1
        await world.relay()
        assert world.ledger.settled == {"j9:1": ("void", 0)}
        assert world.metrics.counts["orphan"] == 1

    async def test_settled_job_is_posted_not_voided(self, world):
        """X-R5: its settlement is on the way; a void must not overtake it."""
        job = await world.create(a_submission())
        await world.dispatch_all()
        assert await world.reconcile() == 0
        await world.relay()
        assert world.ledger.settled == {job.hold_id: ("post", 33 * 1_000_000)}

    async def test_hold_of_an_earlier_admission_is_voided(self, world):
        job = await admitted(world.store, a_job(admission=2))
        await world.ledger.place_hold(replace(job, admission=1))
        assert await world.reconcile() == 1
        assert await world.store.settlements() == {f"{job.id}:1": (SettlementKind.VOID, 0, False)}

    async def test_finish_and_reconciliation_settle_once(self, world):
        """Post or void: the job's lock and the hold's key decide."""
        for _ in range(8):
            job = await world.create(a_submission())
            await asyncio.gather(world.dispatch_all(), world.reconcile())
            await world.dispatch_all()
            kind, amount, _ = (await world.store.settlements())[job.hold_id]
            assert (kind, amount) == (SettlementKind.POST, 33 * 1_000_000)

    async def test_settlement_that_got_lost_over_there_is_sent_again(self, world):
        """X-R27: cost-service came back from an older backup."""
        job = await world.create(a_submission())
        await world.dispatch_all()
        await world.relay()
        world.ledger.settled.clear()
        await world.store.age_settlement(job.hold_id, 120)
        assert await world.reconcile() == 1
        await world.relay()
        assert world.ledger.settled == {job.hold_id: ("post", 33 * 1_000_000)}

    async def test_settlement_taken_while_we_look_is_not_sent_again(self, world, monkeypatch):
        """Under load a round takes long: what was open when we asked is settled when we come."""
        job = await world.create(a_submission())
        await world.dispatch_all()
        open_holds = world.ledger.open_holds

        async def slowly(min_age_seconds):
            found = await open_holds(min_age_seconds)
            await world.relay()
            world.clock.advance(120)
            await world.store.age_settlement(job.hold_id, 120)
            return found

        monkeypatch.setattr(world.ledger, "open_holds", slowly)

        assert await world.reconcile() == 0
        assert world.metrics.counts["orphan"] == 0
        assert (await world.store.settlements())[job.hold_id][2]

    async def test_hold_amounts_add_up(self, world):
        """X-M9: after everything ended, nothing is held."""
        for _ in range(5):
            await world.create(a_submission())
        assert world.ledger.spent == 5 * TERMS.hold_nanousd
        await world.dispatch_all()
        await world.relay()
        assert world.ledger.spent == 5 * 33 * 1_000_000


def replace_reaper(world, *, seen=True):
    """Return the reaper of another replica."""
    reaper = world.reap
    return replace(
        reaper,
        _seen_at=world.clock.monotonic() if seen else None,
        _quiet_until=0.0,
        _gate=asyncio.Semaphore(8),
    )


def _progress(*events):
    progress = Progress()
    for event in events:
        progress.note(event)
    return progress
