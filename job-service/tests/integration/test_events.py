"""Events of jobs from the whole service: real Postgres, Valkey and gRPC."""

import asyncio
import time
from contextlib import aclosing

import pytest
from job_fakes import until
from readers import Reader
from service_client import Client, answers, client_of
from weir.job.v1 import job_service_pb2 as pb

from job_service.bootstrap import job_service
from service_kit.errors import ErrorCode, ServiceError
from service_kit.redis_client import open_redis

# What Redis hints at comes long before the next poll.
NO_POLL = 20.0
SLOWLY = "slowly " + " ".join(f"word{n}" for n in range(30))
PROJECT = "project-1"


@pytest.fixture
def read_all():
    async def read(client, *readers, job_id, most=10**9):
        async with asyncio.timeout(50):
            await asyncio.gather(
                *(follow(client, reader, job_id=job_id, most=most) for reader in readers)
            )

    return read


async def follow(client, reader, *, job_id, most=10**9):
    while reader.job is None:
        await reader.read(client.watch, job_id, most, project_id=PROJECT)


class TestStory:
    async def test_everything_is_told_as_it_happens(self, service, others):
        """Hints bring it, long before a poll would: changes and, piece by piece, the answer."""
        async with service(poll_seconds=NO_POLL, lease_seconds=30) as client:
            began = time.monotonic()
            created = await client.create(SLOWLY)
            reader = Reader()
            async with asyncio.timeout(NO_POLL):
                await follow(client, reader, job_id=created.job_id)
            assert time.monotonic() - began < NO_POLL / 2
        assert reader.types[0] == "created"
        assert reader.types[-2:] == ["running", "completed"]
        assert reader.text == reader.job.result_text == SLOWLY.replace(" ", "")
        assert (reader.gaps, reader.snapshots) == (0, 0)
        assert reader.number > 3

    async def test_cut_after_every_event_and_resumed(self, service):
        """Fifty times and more, while the job runs: no gap, no repetition."""
        async with service() as client:
            created = await client.create(SLOWLY + " " + SLOWLY)
            reader = Reader()
            cuts = 0
            async with asyncio.timeout(50):
                while reader.job is None or cuts < 50:
                    if reader.job is not None:
                        reader = Reader()
                    await reader.read(client.watch, created.job_id, 1, project_id=PROJECT)
                    cuts += 1
        assert reader.text == reader.job.result_text
        assert (reader.gaps, reader.snapshots) == (0, 0)

    async def test_fifty_readers_and_one_that_stalls(self, service, read_all):
        """Everybody gets all of it; the one that stalled, as soon as it reads on."""
        async with service() as client:
            created = await client.create(SLOWLY)
            stalled, readers = Reader(), [Reader() for _ in range(50)]
            async with aclosing(client.watch(PROJECT, created.job_id, "")) as events:
                told = await anext(events)
                stalled.take(told.event, told.cursor)
                await read_all(client, *readers, job_id=created.job_id)
                async for told in events:
                    stalled.take(told.event, told.cursor)
        for reader in [*readers, stalled]:
            assert reader.text == reader.job.result_text == SLOWLY.replace(" ", "")
            assert (reader.gaps, reader.snapshots) == (0, 0)

    async def test_interactive_answer_is_told_at_the_end(self, service):
        async with service() as client:
            job = (await client.run("one two three"))[-1].finished.job
            reader = Reader()
            await follow(client, reader, job_id=job.job_id)
        assert (reader.text, reader.number, reader.snapshots) == ("onetwothree", 3, 1)


class TestLosses:
    async def test_wiped_while_it_runs(self, service, redis_url, read_all):
        """Who reads on and who comes back are told of a gap, and given the whole."""
        redis = open_redis(redis_url, timeout_seconds=5)
        async with service() as client:
            created = await client.create(SLOWLY)
            staying, away = Reader(), Reader()
            reading = asyncio.ensure_future(follow(client, staying, job_id=created.job_id))
            while away.number < 2:
                await away.read(client.watch, created.job_id, 1, project_id=PROJECT)
            await until(lambda: staying.number >= 2)
            await redis.flushall()
            await reading
            late = Reader()
            await read_all(client, away, late, job_id=created.job_id)
        await redis.aclose()
        assert [reader.gaps for reader in (staying, away, late)] == [1, 1, 0]
        for reader in (staying, away, late):
            assert reader.snapshots == 1
            assert reader.text == reader.job.result_text == SLOWLY.replace(" ", "")

    async def test_redis_away(self, service):
        """Slower, and the answer in one piece; and no attempt fails or waits for it."""
        async with service(redis_url="redis://127.0.0.1:1/0") as client:
            created = await client.create(SLOWLY)
            reader = Reader()
            async with asyncio.timeout(30):
                await follow(client, reader, job_id=created.job_id)
        assert reader.types[-2:] == ["running", "completed"]
        assert reader.text == reader.job.result_text == SLOWLY.replace(" ", "")
        assert (reader.gaps, reader.snapshots) == (0, 1)


class TestDoors:
    async def test_shutdown_sends_readers_elsewhere(self, settings, pki, issuer):
        """At once: the drain, which is long enough for the job, does not wait for them."""
        running, stop = asyncio.Future(), asyncio.Event()

        async def serve():
            async with job_service(settings(drain_seconds=4)) as port:
                running.set_result(f"127.0.0.1:{port}")
                await stop.wait()

        serving = asyncio.ensure_future(serve())
        async with client_of(await running, pki["gateway"], issuer) as client:
            await until(lambda: answers(client))
            created = await client.create("endless")
            reader = Reader()
            reading = asyncio.ensure_future(follow(client, reader, job_id=created.job_id))
            await until(lambda: reader.number > 0)
            stop.set()
            with pytest.raises(ServiceError) as caught:
                await reading
            assert caught.value.code is ErrorCode.UNAVAILABLE
            assert not serving.done()
            await serving

    async def test_foreign_job_and_made_up_cursors(self, service, issuer):
        async with service() as client:
            created = await client.create("one two")
            await follow(client, Reader(), job_id=created.job_id)
            refused = [
                ("user-2", created.job_id, "", "JOB_NOT_FOUND"),
                ("user-2", "01a20105-0000-7000-8000-000000000000", "", "JOB_NOT_FOUND"),
                ("user-1", created.job_id, "nonsense", "EVENT_CURSOR_INVALID"),
                ("user-1", created.job_id, "999.1-1", "EVENT_CURSOR_INVALID"),
                ("user-1", created.job_id, "3.1-999", "EVENT_CURSOR_INVALID"),
            ]
            for user, job_id, cursor, reason in refused:
                with pytest.raises(ServiceError) as caught:
                    await anext(Client(client.stub, issuer, user).watch("", job_id, cursor))
                assert caught.value.reason == reason, cursor
            assert (await client.get(created.job_id)).state == pb.JOB_STATE_COMPLETED
