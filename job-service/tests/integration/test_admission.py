"""Admission: one job for each key, one hold for each job, whatever is away. On both stores."""

import asyncio
from dataclasses import replace

import pytest
from job_fakes import CHAT, DECISION, HELLO, STARTED, TERMS, a_job, a_submission, an_error

from job_service.domain.errors import (
    IdempotencyKeyInFlight,
    IdempotencyKeyReused,
    JobFailed,
    ModelNotFound,
)
from job_service.domain.execution import Delta
from job_service.domain.job_state import JobState
from job_service.domain.settlement import SettlementKind
from job_service.domain.specification import JobKind, Message, Sampling
from job_service.usecases import unblock_jobs
from job_service.usecases.run_job import Ended
from service_kit.errors import ErrorCode, InvalidArgument, Unavailable


async def run(world, submission):
    events = [event async for event in world.run(submission)]
    await world.background.done()
    return events


class TestCreate:
    async def test_held_job_is_pending(self, world):
        job = await world.create(a_submission())
        assert (job.state, job.terms) == (JobState.PENDING, TERMS)
        assert world.ledger.holds == {f"{job.id}:1": TERMS.hold_nanousd}
        assert job.period == "2026-01"
        assert world.hints.said["work"] == 1

    async def test_job_of_a_key_uses_the_key_s_budget_too(self, world):
        """Where none was set for it, cost-service leaves it aside."""
        job = await world.create(a_submission(api_key_id="k1"))
        project, key = (await world.store.stored(job.id)).scopes
        assert (project.kind, project.scope_id, project.default_cap) == ("project", "p1", True)
        assert (key.kind, key.scope_id, key.default_cap) == ("api_key", "k1", False)

    async def test_job_of_a_team_uses_the_team_s_budget_too(self, world):
        """At nobody's expense: whose allowance it is matters to the project's alone."""
        job = await world.create(a_submission(team_id="t1", api_key_id="k1"))
        project, team, key = (await world.store.stored(job.id)).scopes
        assert (project.kind, project.owner_user_id) == ("project", "u1")
        assert (team.kind, team.scope_id, team.default_cap) == ("team", "t1", False)
        assert team.owner_user_id == ""
        assert (key.kind, key.scope_id) == ("api_key", "k1")

    async def test_refused_job_is_blocked(self, world):
        world.ledger.budget_nanousd = 0
        job = await world.create(a_submission())
        assert (job.state, job.failure_reason) == (JobState.BLOCKED, "BUDGET_EXCEEDED")
        assert job.last_error == (
            "Too little left. It would cost less with fewer max_tokens (here 100)."
        )
        assert await world.store.settlements() == {}

    async def test_ledger_away_accepts_the_job(self, world):
        """It stays admitting, and the reaper admits it when the ledger is back."""
        world.ledger.is_away = True
        job = await world.create(a_submission())
        assert job.state is JobState.ADMITTING

        await world.store.lapse(job.id)
        await world.reap()
        await world.background.done()
        assert (await world.store.stored(job.id)).state is JobState.ADMITTING

        world.ledger.is_away = False
        await world.store.lapse(job.id)
        await world.reap()
        await world.background.done()
        assert (await world.store.stored(job.id)).state is JobState.PENDING
        assert len(world.ledger.holds) == 1

    async def test_unknown_prices_accept_the_job(self, world):
        """The terms are agreed once prices are known."""
        book, world.prices.value = world.prices.value, None
        job = await world.create(a_submission())
        assert (job.state, job.terms) == (JobState.ADMITTING, None)

        world.prices.value = book
        await world.store.lapse(job.id)
        await world.reap()
        await world.background.done()
        stored = await world.store.stored(job.id)
        assert (stored.state, stored.terms) == (JobState.PENDING, TERMS)

    async def test_unknown_model_writes_nothing(self, world):
        submission = a_submission(specification=replace(HELLO, model="none-such"))
        with pytest.raises(ModelNotFound):
            await world.create(submission)
        async with world.store() as work:
            assert await work.jobs.list_page("p1", None, 10, None) == []

    async def test_settled_hold_fails_the_job(self, world):
        """Its hold can never be placed again, so waiting would not help."""
        world.ledger.is_away = True
        job = await world.create(a_submission())
        world.ledger.is_away = False
        world.ledger.settled[f"{job.id}:1"] = ("void", 0)
        await world.store.lapse(job.id)
        await world.reap()
        await world.background.done()
        stored = await world.store.stored(job.id)
        assert (stored.state, stored.failure_reason) == (JobState.FAILED, "HOLD_SETTLED")

    @pytest.mark.parametrize(
        ("field", "specification"),
        [
            ("type", replace(HELLO, type="other")),
            ("type", CHAT),
            ("model", replace(HELLO, model="m" * 300)),
            ("messages", replace(HELLO, messages=())),
            ("messages", replace(HELLO, messages=(Message("user", "x" * 2_000_000),))),
            ("messages[0].role", replace(HELLO, messages=(Message("boss", "Hi"),))),
            ("messages[0].content", replace(HELLO, messages=(Message("user", "a\0b"),))),
            ("sampling.max_tokens", replace(HELLO, sampling=Sampling(max_tokens=-1))),
            ("sampling.temperature", replace(HELLO, sampling=Sampling(temperature=float("nan")))),
            ("sampling.top_p", replace(HELLO, sampling=Sampling(top_p=1.5))),
            ("sampling.stop", replace(HELLO, sampling=Sampling(stop=("",)))),
        ],
    )
    async def test_bad_field_is_named(self, world, field, specification):
        with pytest.raises(InvalidArgument) as caught:
            await world.create(a_submission(specification=specification))
        assert caught.value.metadata == {"field": field}


class TestKeys:
    """X-M11: the same key, the same job."""

    async def test_a_hundred_parallel_requests_make_one_job(self, world):
        submission = a_submission(key="k1")
        jobs = await asyncio.gather(*(world.create(submission) for _ in range(100)))
        assert len({job.id for job in jobs}) == 1
        async with world.store() as work:
            assert len(await work.jobs.list_page("p1", None, 10, None)) == 1
        assert len(world.ledger.holds) == 1

    async def test_other_body_is_refused(self, world):
        await world.create(a_submission(key="k1"))
        for other in (
            a_submission(key="k1", specification=replace(HELLO, type="implement_feature")),
            a_submission(key="k1", max_retries=1),
        ):
            with pytest.raises(IdempotencyKeyReused):
                await world.create(other)

    async def test_other_tenant_has_keys_of_its_own(self, world):
        mine = await world.create(a_submission(key="k1"))
        theirs = await world.create(a_submission(key="k1", project_id="p2"))
        assert mine.id != theirs.id

    async def test_same_key_works_after_its_model_went_away(self, world):
        first = await world.create(a_submission(key="k1"))
        world.targets.value = ()
        assert (await world.create(a_submission(key="k1"))).id == first.id

    async def test_finished_answer_is_replayed(self, world):
        """The same events, nothing is run or charged again."""
        submission = a_submission(JobKind.INTERACTIVE, key="k1")
        first = await run(world, submission)
        again = await run(world, submission)

        assert isinstance(again[-1], Ended)
        assert again[-1].job.id == first[-1].job.id
        assert again[-1].job.result_text == "Hello!"
        assert len(world.executor.jobs) == 1
        assert len(await world.store.settlements()) == 1

    async def test_running_answer_is_in_flight(self, world):
        world.executor.play((asyncio.Event(),))
        submission = a_submission(JobKind.INTERACTIVE, key="k1")
        first = world.run(submission)
        await anext(first)
        with pytest.raises(IdempotencyKeyInFlight):
            await run(world, submission)
        await first.aclose()
        await world.background.done()

    async def test_a_hundred_parallel_answers_run_once(self, world):
        submission = a_submission(JobKind.INTERACTIVE, key="k1")
        ended = await asyncio.gather(
            *(run(world, submission) for _ in range(100)), return_exceptions=True
        )
        assert len(world.executor.jobs) == 1
        assert any(isinstance(each, list) for each in ended)
        assert all(isinstance(each, (list, IdempotencyKeyInFlight)) for each in ended)

    async def test_refused_hold_frees_the_key(self, world):
        world.ledger.budget_nanousd = 0
        submission = a_submission(JobKind.INTERACTIVE, key="k1")
        with pytest.raises(JobFailed) as caught:
            await run(world, submission)
        assert (caught.value.reason, caught.value.code) == (
            "BUDGET_EXCEEDED",
            ErrorCode.RESOURCE_EXHAUSTED,
        )
        assert caught.value.message == (
            "Too little left. It would cost less with fewer max_tokens (here 100)."
        )
        await world.background.done()
        assert await world.store.keys() == {}

        world.ledger.budget_nanousd = 10**18
        assert (await run(world, submission))[-1].job.state is JobState.COMPLETED

    async def test_failure_that_was_charged_is_replayed(self, world):
        """The caller got a part and paid for it; the same key does not run again."""
        world.executor.play((DECISION, STARTED, Delta("Hel", 2), an_error("EXECUTION_FAILED")))
        submission = a_submission(JobKind.INTERACTIVE, key="k1")
        for _ in range(2):
            with pytest.raises(JobFailed) as caught:
                await run(world, submission)
            assert caught.value.reason == "EXECUTION_FAILED"
            await world.background.done()
        assert len(world.executor.jobs) == 1


class TestInteractive:
    async def test_events_in_order(self, world):
        events = await run(world, a_submission(JobKind.INTERACTIVE))
        assert [type(event).__name__ for event in events] == [
            "Admitted",
            "RouteDecision",
            "Started",
            "Delta",
            "Delta",
            "Ended",
        ]
        job = events[-1].job
        assert await world.store.settlements() == {
            job.hold_id: (SettlementKind.POST, 33 * 1_000_000, False)
        }

    async def test_ledger_away_fails_and_voids(self, world):
        """Its hold may have been placed all the same: the void lets it go."""
        world.ledger.is_away = True
        with pytest.raises(Unavailable):
            await run(world, a_submission(JobKind.INTERACTIVE, key="k1"))
        await world.background.done()
        (settlement,) = (await world.store.settlements()).values()
        assert settlement == (SettlementKind.VOID, 0, False)
        assert await world.store.keys() == {}

    async def test_unknown_prices_are_unavailable(self, world):
        world.prices.value = None
        with pytest.raises(Unavailable):
            await run(world, a_submission(JobKind.INTERACTIVE))

    async def test_first_worker_is_found_at_once(self, world):
        """Somebody who waits is not told that no model is there when one just came."""
        world.targets.value, world.targets.next_value = (), world.targets.value
        events = await run(world, a_submission(JobKind.INTERACTIVE))
        assert isinstance(events[-1], Ended)

    @pytest.mark.parametrize("reason", ["NO_CAPACITY", "TARGET_UNAVAILABLE"])
    async def test_no_capacity_is_told_and_voided(self, world, reason):
        """X-P15: interactive work is 503, and its hold is released."""
        world.executor.play((an_error(reason, ErrorCode.UNAVAILABLE),))
        with pytest.raises(JobFailed) as caught:
            await run(world, a_submission(JobKind.INTERACTIVE))
        assert (caught.value.reason, caught.value.code) == (reason, ErrorCode.UNAVAILABLE)
        await world.background.done()
        await world.relay()
        assert list(world.ledger.settled.values()) == [("void", 0)]

    async def test_caller_who_leaves_stops_the_engine_and_pays(self, world):
        """X-P8: what was made until then is charged, in a task that outlives the call."""
        world.executor.play((DECISION, STARTED, Delta("Hel", 2), asyncio.Event()))
        events = world.run(a_submission(JobKind.INTERACTIVE))
        async for event in events:
            if isinstance(event, Delta):
                break
        await events.aclose()
        await world.background.done()

        assert world.executor.streams[0].stopped.is_set()
        job = await world.store.stored(world.executor.jobs[0].id)
        assert (job.state, job.result_text) == (JobState.CANCELLED, "Hel")
        assert await world.store.settlements() == {
            job.hold_id: (SettlementKind.POST, (2 + 2) * 1_000_000, False)
        }
        assert len(world.live) == 0

    async def test_cancelled_while_it_is_admitted(self, world, monkeypatch):
        """X-R23: the caller learns that somebody cancelled; the hold that came late is voided."""
        place_hold = world.ledger.place_hold

        async def cancelled_meanwhile(job):
            await world.cancel(job.project_id, job.id)
            return await place_hold(job)

        monkeypatch.setattr(world.ledger, "place_hold", cancelled_meanwhile)
        with pytest.raises(JobFailed) as caught:
            await run(world, a_submission(JobKind.INTERACTIVE))
        assert (caught.value.reason, caught.value.code) == ("JOB_CANCELLED", ErrorCode.ABORTED)
        await world.background.done()
        await world.relay()
        assert list(world.ledger.settled.values()) == [("void", 0)]

    async def test_lapsed_admission_fails_and_voids(self, world):
        """Killed between a and c: nobody waits for the answer any more."""
        async with world.store() as work:
            job = await work.jobs.add(a_job(JobKind.INTERACTIVE))
        await world.store.lapse(job.id)
        await world.reap()
        stored = await world.store.stored(job.id)
        assert (stored.state, stored.failure_reason) == (JobState.FAILED, "INTERRUPTED")
        await world.relay()
        assert world.ledger.settled == {job.hold_id: ("void", 0)}


class TestBlocked:
    async def test_released_after_a_top_up(self, world):
        """C6: oldest first, as far as the budget goes."""
        world.ledger.budget_nanousd = 0
        made = [(await world.create(a_submission())).id for _ in range(3)]
        assert await world.unblock() == 0

        world.ledger.budget_nanousd = 2 * TERMS.hold_nanousd
        assert await world.unblock() == 2
        states = [(await world.store.stored(job_id)).state for job_id in made]
        assert states == [JobState.PENDING, JobState.PENDING, JobState.BLOCKED]

    async def test_released_by_a_void(self, world):
        """Another job's unused hold is room for this one."""
        world.ledger.budget_nanousd = TERMS.hold_nanousd
        first = await world.create(a_submission())
        second = await world.create(a_submission())
        assert second.state is JobState.BLOCKED
        await world.cancel("p1", first.id)
        await world.relay()
        assert await world.unblock() == 1

    async def test_released_by_a_new_month(self, world):
        """Each month has its budget; the job counts for the one in which it was held."""
        world.ledger.budget_nanousd = TERMS.hold_nanousd
        await world.create(a_submission())
        job = await world.create(a_submission())
        assert await world.unblock() == 0

        world.ledger.period = "2026-02"
        assert await world.unblock() == 1
        stored = await world.store.stored(job.id)
        assert (stored.state, stored.period) == (JobState.PENDING, "2026-02")

    async def test_highest_priority_goes_first(self, world):
        """And whoever is refused keeps those behind from going, however small they are."""
        world.ledger.budget_nanousd = 0
        small = await world.create(a_submission())
        sampling = Sampling(max_tokens=100 * TERMS.max_tokens)
        large = await world.create(
            a_submission(priority=1, specification=replace(HELLO, sampling=sampling))
        )
        world.ledger.budget_nanousd = 2 * TERMS.hold_nanousd
        assert await world.unblock() == 0

        world.ledger.budget_nanousd = 10**18
        assert await world.unblock() == 2
        placed = [hold for call, hold in world.ledger.calls if call == "place"]
        assert placed[-2:] == [large.hold_id, small.hold_id]

    async def test_key_without_budget_holds_up_nobody_else(self, world):
        """What waits for a key's own cap does not stand before what waits for the project's."""
        world.ledger.budget_nanousd = 0
        world.ledger.empty_keys.add("k1")
        with_key = await world.create(a_submission(api_key_id="k1"))
        without = await world.create(a_submission())
        world.ledger.budget_nanousd = 10**18
        assert await world.unblock() == 1
        assert (await world.store.stored(with_key.id)).state is JobState.BLOCKED
        assert (await world.store.stored(without.id)).state is JobState.PENDING

    async def test_long_queue_is_let_go_in_several_rounds(self, world, monkeypatch):
        """So that a budget topped up meanwhile does not wait for the end of this one."""
        monkeypatch.setattr(unblock_jobs, "MOST_IN_A_ROUND", 2)
        world.ledger.budget_nanousd = 0
        for _ in range(3):
            await world.create(a_submission())
        world.ledger.budget_nanousd = 10**18
        assert [await world.unblock() for _ in range(3)] == [2, 1, 0]

    async def test_one_project_does_not_hold_up_another(self, world):
        world.ledger.budget_nanousd = 0
        for project_id in ("p1", "p2"):
            await world.create(a_submission(project_id=project_id))
        world.ledger.budget_nanousd = 10**18
        assert await world.unblock() == 2

    async def test_two_replicas_admit_it_once(self, world):
        world.ledger.budget_nanousd = 0
        job = await world.create(a_submission())
        world.ledger.budget_nanousd = 10**18
        await asyncio.gather(*(world.unblock() for _ in range(5)))
        assert (await world.store.events_of(job.id)).count("pending") == 1
        assert len(world.ledger.holds) == 1

    async def test_ledger_away_keeps_it_blocked(self, world):
        world.ledger.budget_nanousd = 0
        job = await world.create(a_submission())
        world.ledger.is_away = True
        assert await world.unblock() == 0
        assert (await world.store.stored(job.id)).state is JobState.BLOCKED
