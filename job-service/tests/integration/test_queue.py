"""Whose turn it is, how much may wait, and what waits for a budget. On both stores."""

import asyncio
from collections import Counter
from datetime import timedelta

import pytest
from job_fakes import ANSWER, LEASE_SECONDS, SCOPES, a_job, a_submission, admitted

from job_service.adapters.claim_statement import CLAIM, LOCKED_BY_OTHERS
from job_service.adapters.unit_of_work import PostgresUnitOfWork
from job_service.domain.budget_scope import BudgetScope
from job_service.domain.errors import IdempotencyKeyReused, QueueFull
from job_service.domain.execution import Progress
from job_service.domain.job_state import JobState
from job_service.domain.specification import JobKind
from job_service.usecases.queue_ports import BlockedLane
from service_kit.errors import InvalidArgument

FLOOD = 10_000


def answered(job):
    """Return a running job completed."""
    progress = Progress()
    for event in ANSWER:
        progress.note(event)
    return job.completed(progress)


async def waiting(store, project_id, count=1, **changes):
    """Return so many jobs that wait for a place, oldest first."""
    return [await admitted(store, a_job(project_id=project_id, **changes)) for _ in range(count)]


async def claim(store, limit, after=""):
    async with store() as work:
        return await work.jobs.claim(limit, after)


def claim_of(limit):
    """Return what the statement is given by a claim of so many."""
    lease = timedelta(seconds=LEASE_SECONDS)
    return {"limit": limit, "reach": limit + LOCKED_BY_OTHERS, "after": "", "lease": lease}


async def hand_back(store, jobs, delay=0):
    async with store() as work:
        for job in jobs:
            await work.jobs.save(job, job.handed_back(delay))


async def blocked(store, project_id="p1", key="", **changes):
    scopes = (*SCOPES, BudgetScope("api_key", key, "u1", default_cap=False)) if key else SCOPES
    job = a_job(project_id=project_id, scopes=scopes, **changes)
    async with store() as work:
        job = await work.jobs.add(job)
        return await work.jobs.save(job, job.refused("NO_BUDGET", "None."))


class TestTurns:
    async def test_fewest_running_first(self, store):
        """Whoever has least gets the next place."""
        await waiting(store, "a", 5)
        await claim(store, 3)
        await waiting(store, "b", 2)
        claimed = await claim(store, 4)
        assert [job.project_id for job in claimed] == ["b", "b", "a", "a"]

    async def test_projects_take_turns(self, store):
        """One claim gives each the same, whatever they have waiting."""
        await waiting(store, "a", 6)
        await waiting(store, "b", 2)
        await waiting(store, "c", 6)
        claimed = await claim(store, 8)
        assert [job.project_id for job in claimed] == ["a", "b", "c", "a", "b", "c", "a", "c"]

    async def test_next_turn_is_after_the_last_one(self, store):
        """Where nobody has anything running, it is not always the first one's turn."""
        for project_id in ("a", "b", "c"):
            await waiting(store, project_id, 2)
        served, last = [], ""
        for _ in range(6):
            (job,) = await claim(store, 1, after=last)
            last = job.project_id
            served.append(last)
            async with store() as work:
                await work.jobs.save(job, answered(job))
        assert served == ["a", "b", "c", "a", "b", "c"]

    async def test_priority_orders_the_own_jobs(self, store):
        """Larger first, then older; nobody pushes another project aside with it."""
        ids = {
            name: (await waiting(store, project_id, priority=priority))[0].id
            for name, project_id, priority in (
                ("b1", "b", 0),
                ("a low", "a", -100),
                ("a1", "a", 0),
                ("a2", "a", 0),
                ("a high", "a", 100),
            )
        }
        claimed = [job.id for job in await claim(store, 5)]
        order = ("a high", "b1", "a1", "a2", "a low")
        assert claimed == [ids[name] for name in order]

    async def test_what_is_not_due_takes_no_turn(self, store):
        """A project whose jobs all back off is passed over, and comes back by itself."""
        await waiting(store, "a", 3)
        await waiting(store, "b", 3)
        backing_off = [job for job in await claim(store, 6) if job.project_id == "a"]
        await hand_back(store, backing_off, delay=60)
        await waiting(store, "b", 2)
        assert [job.project_id for job in await claim(store, 1)] == ["b"]

        await store.make_due(backing_off[0].id)
        assert [job.id for job in await claim(store, 1)] == [backing_off[0].id]

    async def test_interactive_work_does_not_count(self, store):
        """It runs beside the queue: who chats does not wait longer for jobs."""
        await waiting(store, "a", 1)
        await waiting(store, "a", 3, kind=JobKind.INTERACTIVE)
        await waiting(store, "b", 1)
        assert [job.project_id for job in await claim(store, 2)] == ["a", "b"]

    async def test_racing_replicas_share_out_fairly(self, store):
        """Nobody's job is claimed twice, no project gets less, and no replica goes without."""
        await waiting(store, "a", 30)
        await waiting(store, "b", 8)
        batches = await asyncio.gather(*(claim(store, 4) for _ in range(4)))
        claimed = [job for batch in batches for job in batch]
        assert [len(batch) for batch in batches] == [4] * 4
        assert len({job.id for job in claimed}) == 16
        assert Counter(job.project_id for job in claimed) == {"a": 8, "b": 8}


class TestFlood:
    """X-R26: 10,000 waiting jobs of one project."""

    async def test_others_wait_no_longer_than_for_their_turn(self, store):
        """Whether jobs end at once or stay, B has every second place; it is B's turn at once."""
        (one,) = await waiting(store, "a", 1)
        await store.flood(one.id, FLOOD if isinstance(store, PostgresUnitOfWork) else 1_000)
        for ends_at_once in (True, False):
            theirs = {job.id for job in await waiting(store, "b", 5)}
            last, claims = "", 0
            while theirs:
                (job,) = await claim(store, 1, after=last)
                claims, last = claims + 1, job.project_id
                theirs.discard(job.id)
                if ends_at_once:
                    async with store() as work:
                        await work.jobs.save(job, answered(job))
                # Five on an empty queue.
                assert claims <= 2 * 5

        theirs = await waiting(store, "c", 3)
        claimed = await claim(store, 3)
        assert [job.id for job in claimed] == [job.id for job in theirs]

    async def test_claim_looks_at_few_jobs(self, postgres_store):
        """However many wait, and whether or not Postgres has heard of them yet."""
        for project_id in ("a", "b"):
            (one,) = await waiting(postgres_store, project_id, 1)
            await postgres_store.flood(one.id, FLOOD // 2)
        for _ in range(2):
            looked_at = await postgres_store.rows_looked_at(CLAIM.element.text, claim_of(1))
            assert looked_at <= 2 * (1 + LOCKED_BY_OTHERS + 5)
            await postgres_store.analyze()

    async def test_claim_looks_at_few_projects(self, postgres_store):
        """However many have work waiting, and wherever among them the last turn was."""
        for project_id in ("a", "b"):
            (one,) = await waiting(postgres_store, project_id, 1)
            await postgres_store.spread(one.id, FLOOD // 4)
        await claim(postgres_store, 20)
        for after in ("", "a-5", "b-9", "c"):
            for _ in range(2):
                values = {**claim_of(32), "after": after}
                looked_at = await postgres_store.rows_looked_at(CLAIM.element.text, values)
                # The running ones twice, and a few for each place: the rest is not read.
                assert looked_at <= 2 * 20 + 4 * values["reach"]
                await postgres_store.analyze()


class TestLateClaim:
    async def test_what_others_took_meanwhile_is_left_to_them(self, postgres_store):
        """A claim that chose its jobs looks at each again once it has locked it."""
        await waiting(postgres_store, "a", 3)
        late = CLAIM.element.text.replace(
            "FROM ranked JOIN",
            "FROM (SELECT *, pg_advisory_xact_lock(7) IS NULL FROM ranked OFFSET 0) ranked JOIN",
        )
        found, first = await postgres_store.held_up(
            late, claim_of(3), lambda: claim(postgres_store, 2)
        )
        assert len(first) == 2
        assert [row.job_id for row in found if row.job_id in {job.id for job in first}] == []
        assert len(found) == 1


class TestRoom:
    async def test_only_what_waits_is_counted(self, store):
        """For a hold, a place, a retry or a budget; nothing that runs, ended, or is answered."""
        async with store() as work:
            await work.jobs.add(a_job())
            await work.jobs.add(a_job(JobKind.INTERACTIVE))
        await waiting(store, "p1", 4)
        await waiting(store, "p2", 1)
        await blocked(store)
        done, _, retried = [job for job in await claim(store, 4) if job.project_id == "p1"]
        async with store() as work:
            await work.jobs.save(done, answered(done))
            await work.jobs.save(retried, retried.handed_back(60))
        async with store() as work:
            # Admitting, pending, waiting for a retry, blocked.
            assert await work.queue.count("p1", 100) == 4
            assert await work.queue.count("p1", 3) == 3
            assert await work.queue.count("p3", 100) == 0

    async def test_racing_submits_fill_it_exactly(self, world):
        """Twice as many as there is room for, at once: exactly so many get in."""
        world.check_room.cap = 5
        made = await asyncio.gather(
            *(world.create(a_submission(key=f"k{n}")) for n in range(10)), return_exceptions=True
        )
        refused = [one for one in made if isinstance(one, QueueFull)]
        assert len(refused) == 5
        assert refused[0].metadata == {"project_id": "p1", "max_queued_jobs": "5"}
        assert refused[0].retry_after > timedelta(0)
        assert len(world.ledger.holds) == 5
        # Nothing was written, so the same keys may be used again.
        assert len(await world.store.keys()) == 5

    async def test_first_request_is_answered_again_when_it_is_full(self, world):
        world.check_room.cap = 1
        first = await world.create(a_submission(key="k1"))
        assert (await world.create(a_submission(key="k1"))).id == first.id
        with pytest.raises(QueueFull):
            await world.create(a_submission(key="k2"))

    async def test_nobody_else_is_kept_out(self, world):
        """Another project, and whoever waits for an answer, do not stand in this queue."""
        world.check_room.cap = 1
        await world.create(a_submission())
        assert (await world.create(a_submission(project_id="p2"))).state is JobState.PENDING
        async for _ in world.run(a_submission(JobKind.INTERACTIVE)):
            pass
        await world.background.done()

    async def test_what_runs_makes_room(self, world):
        world.check_room.cap = 1
        await world.create(a_submission())
        await world.dispatch_all()
        assert (await world.create(a_submission())).state is JobState.PENDING

    async def test_blocked_jobs_fill_it(self, world):
        """Else a project without budget could queue without end."""
        world.check_room.cap = 1
        world.ledger.budget_nanousd = 0
        await world.create(a_submission())
        with pytest.raises(QueueFull):
            await world.create(a_submission())


class TestPriority:
    @pytest.mark.parametrize("priority", [-101, 101])
    async def test_out_of_bounds_is_refused(self, world, priority):
        with pytest.raises(InvalidArgument) as caught:
            await world.create(a_submission(priority=priority))
        assert caught.value.metadata == {"field": "priority"}

    async def test_same_key_with_another_priority_is_another_request(self, world):
        first = await world.create(a_submission(key="k1", priority=5))
        assert (await world.create(a_submission(key="k1", priority=5))).id == first.id
        assert (await world.store.stored(first.id)).priority == 5
        with pytest.raises(IdempotencyKeyReused):
            await world.create(a_submission(key="k1"))


class TestBlocked:
    async def test_lanes_are_those_of_projects_and_keys(self, store):
        """However many jobs each has; what goes on is in none."""
        for project_id, key in (("p1", ""), ("p1", "k2"), ("p1", "k1"), ("p1", ""), ("p2", "k1")):
            await blocked(store, project_id, key)
        await waiting(store, "p3", 1)
        async with store() as work:
            lanes = await work.queue.blocked_lanes()
        assert lanes == [
            BlockedLane("p1", ""),
            BlockedLane("p1", "k1"),
            BlockedLane("p1", "k2"),
            BlockedLane("p2", "k1"),
        ]

    async def test_first_of_a_lane(self, store):
        """Highest priority, then oldest; whole, because it is to be held for."""
        await blocked(store, key="k1", priority=9)
        await blocked(store)
        first = await blocked(store, priority=5)
        await blocked(store, priority=5)
        async with store() as work:
            found = await work.queue.first_blocked(BlockedLane("p1", ""))
            assert await work.queue.first_blocked(BlockedLane("p9", "")) is None
        assert found == first
        assert found.specification.messages

    async def test_blocked_for_too_long(self, store):
        """Since it was blocked, by the database's clock; longest first."""
        jobs = [await blocked(store) for _ in range(4)]
        for job, seconds in zip(jobs[1:], (70, 90, 80), strict=True):
            await store.age_blocked(job.id, seconds)
        async with store() as work:
            found = await work.queue.lock_blocked_for(60, 2)
        assert [job.id for job in found] == [jobs[2].id, jobs[3].id]
