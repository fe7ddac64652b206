"""What a dispatcher learns from jobs that come back."""

from dataclasses import replace

import pytest
from job_fakes import ANSWER, DECISION, HELLO, a_job, admitted, an_error

from job_service.domain.execution import Dispatching, Released
from job_service.domain.job_state import JobState
from service_kit.errors import ErrorCode

FULL = an_error("NO_CAPACITY", ErrorCode.RESOURCE_EXHAUSTED)
AWAY = an_error("TARGET_UNAVAILABLE", ErrorCode.UNAVAILABLE)
ROUTER_AWAY = an_error("UNAVAILABLE", ErrorCode.UNAVAILABLE)
UNKNOWN = an_error("MODEL_NOT_SERVED", ErrorCode.NOT_FOUND)
ASKED_TO_WAIT = (
    DECISION,
    Dispatching("yotta", "task-1"),
    Released("yotta", "task-1", "NO_CAPACITY"),
    FULL,
)


async def come_back(world, script, times=1):
    """Let one queued job be tried so often, and return it."""
    job = await admitted(world.store, a_job(specification=replace(HELLO, type="away")))
    world.executor.play(script)
    for _ in range(times):
        await world.store.make_due(job.id)
        assert await world.dispatch() == 1
        await world.background.done()
    return await world.store.stored(job.id)


@pytest.mark.parametrize("script", [(AWAY,), (UNKNOWN,), ASKED_TO_WAIT], ids=["away", "new", "429"])
async def test_job_that_waits_for_its_target_takes_no_places(world, script):
    """Twenty tries later, as many others as before run at once."""
    job = await come_back(world, script, times=20)
    assert (job.state, job.waits) == (JobState.PENDING, 20)
    assert world.dispatch.places.limit == 8


@pytest.mark.parametrize("error", [FULL, ROUTER_AWAY], ids=["full", "away"])
async def test_router_without_room_takes_places(world, error):
    """Others would find no room either; it is asked again soon, however often that was."""
    job = await come_back(world, (error,), times=9)
    due_in = world.store.tables.available_at[job.id] - world.clock.now()
    assert world.dispatch.places.limit == 1
    assert due_in.total_seconds() <= 0.5 * 1.2


async def test_router_without_room_for_a_cancelled_job_takes_places(world):
    """The job waits no more; that there was no room stays true for the others."""
    job = await admitted(world.store, a_job())

    async def cancel():
        await world.cancel(job.project_id, job.id)

    world.executor.play((cancel, FULL))
    assert await world.dispatch() == 1
    await world.background.done()
    assert (await world.store.stored(job.id)).state is JobState.CANCELLED
    assert world.dispatch.places.limit == 1


async def test_what_comes_back_again_and_again_is_offered_less_often(world):
    """Twice as late each time, up to half a minute."""
    delays = []
    for times in (1, 2, 3, 20):
        job = await come_back(world, (AWAY,), times)
        delays.append((world.store.tables.available_at[job.id] - world.clock.now()).total_seconds())
        world.store.tables.jobs.clear()
    for delay, expected in zip(delays, (0.5, 1.0, 2.0, 30.0), strict=True):
        assert expected * 0.8 <= delay <= expected * 1.2


async def test_an_attempt_that_starts_begins_the_waiting_anew(world):
    job = await come_back(world, (AWAY,), times=5)
    world.executor.play((*ANSWER[:2], an_error("EXECUTION_FAILED")))
    await world.store.make_due(job.id)
    await world.dispatch()
    await world.background.done()
    failed = await world.store.stored(job.id)
    assert (failed.state, failed.waits) == (JobState.RETRYING, 0)


async def test_one_more_is_tried_while_a_long_job_runs(world):
    """A job waits, the only place is taken, and nothing was refused for a while."""
    await admitted(world.store, a_job())
    world.executor.play(ANSWER)
    world.dispatch.places.limit = world.dispatch.places.taken = 1
    assert await world.dispatch() == 1
    await world.background.done()
