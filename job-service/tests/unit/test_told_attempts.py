"""What an attempt tells its watchers, and what its last change says about that."""

from job_fakes import ANSWER, DECISION, STARTED, a_job, admitted, an_error, until

from job_service.domain.execution import Delta
from job_service.domain.job_state import JobState
from job_service.domain.specification import JobKind
from job_service.usecases.execute_attempt import StopReason, StopSignal


def deltas_told(world, job):
    return world.store.tables.events[job.id][-1].details.get("deltas")


def texts(world, job):
    return "".join(entry.text for _, entry in world.deltas.streams.get(job.id, []))


async def test_queued_answer_is_written_before_its_end_is_told(world):
    job = await world.claimed()
    ended = await world.execute(job, StopSignal())
    assert ended.state is JobState.COMPLETED
    assert texts(world, job) == ended.result_text == "Hello!"
    assert deltas_told(world, job) == len(world.deltas.streams[job.id])


async def test_interactive_answer_is_its_caller_s_alone(world):
    """Its watchers get it at the end, for as many deltas as its caller got."""
    job = await admitted(world.store, a_job(JobKind.INTERACTIVE))
    await world.execute(job, StopSignal())
    assert world.deltas.writes == 0
    assert deltas_told(world, job) == 2


async def test_redis_away_fails_no_attempt(world):
    world.deltas.is_away = True
    job = await world.claimed()
    ended = await world.execute(job, StopSignal())
    assert (ended.state, ended.result_text) == (JobState.COMPLETED, "Hello!")
    assert deltas_told(world, job) == 1
    assert world.deltas.writes == 1


async def test_lease_is_kept_while_the_last_words_are_written(world, monkeypatch):
    job = await world.claimed()
    kept = []

    async def slowly(_):
        await world.store.lapse(job.id)
        await until(lambda: world.store.job(job.id).lease_expires_at > world.clock.now(), 2)
        kept.append(job.id)

    monkeypatch.setattr(world.publisher, "finish", slowly)
    ended = await world.execute(job, StopSignal())
    assert (ended.state, kept) == (JobState.COMPLETED, [job.id])


async def test_bug_in_telling_costs_no_answer(world, monkeypatch):
    async def break_down(_):
        raise KeyError("deltas")

    monkeypatch.setattr(world.publisher, "finish", break_down)
    job = await world.claimed()
    ended = await world.execute(job, StopSignal())
    assert (ended.state, ended.result_text) == (JobState.COMPLETED, "Hello!")
    assert world.metrics.counts["deltas failed"] == 1
    assert deltas_told(world, job) == 1


async def test_attempt_that_will_be_repeated_counts_nothing(world):
    world.executor.play((DECISION, STARTED, Delta("Hel", 1), an_error("EXECUTION_FAILED")), ANSWER)
    job = await world.claimed()
    ended = await world.execute(job, StopSignal())
    assert ended.state is JobState.RETRYING
    assert deltas_told(world, job) is None


async def test_lost_lease_writes_no_more(world):
    job = await world.claimed()
    stop = StopSignal()

    async def lose():
        stop.ask(StopReason.LEASE_LOST)

    world.executor.play((DECISION, STARTED, Delta("Hel", 1), lose, *ANSWER[3:]))
    assert await world.execute(job, stop) is None
    assert world.deltas.writes == 0
