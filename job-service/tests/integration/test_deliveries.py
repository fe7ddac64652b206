"""X-R16: what is delivered twice leaves what one delivery would."""

import pytest
from job_fakes import until
from weir.job.v1 import job_service_pb2 as pb

from service_kit.errors import ServiceError

# What the repetition of each RPC that changes something is told; "" is an answer like the first.
# tests/contract/test_deliveries.py misses none.
TOLD = {
    "JobService.CreateJob": "",
    "JobService.RunJob": "",
    "JobService.CancelJob": "",
    "JobService.RetryJob": "",
    "DeadLetterService.RedriveDeadLetter": "",
    "DeadLetterService.RedriveDeadLetters": "",
    "DeadLetterService.PurgeDeadLetter": "DEAD_LETTER_NOT_FOUND",
}
VOID, POST = ("void", 0), ("post", 22 * 10**6)


class Deliveries:
    """A client that makes every call twice."""

    def __init__(self, client):
        self._calls = {
            "CreateJob": client.create,
            "RunJob": client.run,
            "CancelJob": client.cancel,
            "RetryJob": client.retry,
        }
        self._client = client
        self.made = set()

    async def twice(self, rpc, *values, **named):
        """Return the first answer."""
        self.made.add(rpc)
        first = await self._call(rpc, *values, **named)
        told = ""
        try:
            await self._call(rpc, *values, **named)
        except ServiceError as error:
            told = error.reason
        assert told == TOLD[rpc], rpc
        return first

    async def _call(self, rpc, *values, **named):
        service, _, method = rpc.partition(".")
        if service == "JobService":
            return await self._calls[method](*values, **named)
        return await self._client.about_dead_letters(method, **named)


async def story_of(client):
    """Have every call made twice; return the deliveries, and the jobs by what became of them."""
    deliveries = Deliveries(client)
    twice, jobs = deliveries.twice, {}

    jobs["queued"] = (await twice("JobService.CreateJob", "one two", request_id="k1")).job_id
    events = await twice("JobService.RunJob", "three four", request_id="k2")
    jobs["interactive"] = events[-1].finished.job.job_id

    jobs["unwanted"] = (await client.create("full")).job_id
    for _ in range(2):
        await twice("JobService.CancelJob", jobs["unwanted"])
        await client.reaches(jobs["unwanted"], pb.JOB_STATE_CANCELLED)
        # The second time it is the same request, late: swapped with the cancel.
        await twice("JobService.RetryJob", jobs["unwanted"], request_id="k3")

    for name in ("redriven", "redriven too", "purged"):
        jobs[name] = (await client.create("broken", max_retries=0)).job_id
        await client.reaches(jobs[name], pb.JOB_STATE_DEAD_LETTER)
    redrive = {"job_id": jobs["redriven"], "request_id": "k4"}
    await twice("DeadLetterService.RedriveDeadLetter", **redrive)
    await twice("DeadLetterService.RedriveDeadLetters", limit=1, request_id="k5")
    await twice("DeadLetterService.PurgeDeadLetter", job_id=jobs["purged"])
    return deliveries, jobs


@pytest.fixture
def kept(postgres_store):
    """Return what each of the jobs came to."""

    async def read(jobs):
        found = {}
        for name, job_id in jobs.items():
            job = await postgres_store.stored(job_id)
            events = await postgres_store.events_of(job_id)
            found[name] = (job.state, job.admission, events.count("retried"))
        return found

    return read


async def test_each_rpc_delivered_twice_changes_nothing_more(service, others, postgres_store, kept):
    """One job for each creation; one admission, hold and settlement for each of its lives."""
    expected = {
        "queued": ("completed", 1, 0),
        "interactive": ("completed", 1, 0),
        "unwanted": ("cancelled", 2, 1),
        "redriven": ("dead_letter", 2, 1),
        "redriven too": ("dead_letter", 2, 1),
        "purged": ("dead_letter", 1, 0),
    }
    async with service() as client:
        before = len(others.cost.holds)
        deliveries, jobs = await story_of(client)

        async def is_over():
            return await kept(jobs) == expected

        await until(is_over)
        settled = {
            f"{jobs[name]}:{admission}": POST if state == "completed" else VOID
            for name, (state, last, _) in expected.items()
            for admission in range(1, last + 1)
        }
        await until(lambda: settled.items() <= others.cost.settled.items())

    assert deliveries.made == TOLD.keys()
    assert len(others.cost.holds) - before == len(settled)
    assert await postgres_store.audited() == [
        (action, "user:user-1", f"job {jobs[name]}")
        for action, name in (
            ("job.retried", "unwanted"),
            ("dead_letter.redriven", "redriven"),
            ("dead_letter.redriven", "redriven too"),
            ("dead_letter.purged", "purged"),
        )
    ]
