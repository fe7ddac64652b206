"""What is said about running jobs: deltas in Valkey and changes in Postgres, and their fakes."""

import asyncio
import time

import pytest
from event_fakes import FakeDeltas, FakeLifecycle
from job_fakes import a_job, a_submission, admitted, until

from job_service.adapters.postgres_lifecycle import PostgresLifecycle
from job_service.adapters.redis_deltas import RedisChanges, RedisDeltas, stream_of
from job_service.domain.answer import Entry
from job_service.domain.job_events import Cursor
from job_service.usecases.event_ports import DeltaBatch, DeltaPosition, DeltaWrite
from service_kit.database import autocommit_sessions
from service_kit.errors import Unavailable
from service_kit.redis_client import open_redis


@pytest.fixture
async def redis(redis_url):
    client = open_redis(redis_url, max_connections=4, timeout_seconds=5)
    yield client
    await client.aclose()


class ValkeyDeltas(RedisDeltas):
    """The real store, and a handle to wipe it."""

    async def wipe(self):
        await self._client.flushall()


class MemoryDeltas(FakeDeltas):
    async def wipe(self):
        super().wipe()


@pytest.fixture(params=["fake", "valkey"])
def deltas(request):
    """Every test of the suite runs on both."""
    if request.param == "fake":
        return MemoryDeltas()
    return ValkeyDeltas(request.getfixturevalue("redis"))


def batch(*texts, job_id="j1", attempt=1, after=0, is_snapshot=False):
    return DeltaBatch(job_id, attempt, after, texts, 60, is_snapshot)


async def read(deltas, job_id="j1", attempt=1, number=0, limit=100):
    (entries,) = await deltas.read([DeltaPosition(job_id, attempt, number)], limit)
    return list(entries)


class TestDeltas:
    async def test_what_is_written_is_read(self, deltas):
        assert await deltas.write([batch("Hel", "lo\n€\0")], ()) == [DeltaWrite.WRITTEN]
        assert await deltas.write([batch("!", after=2)], ()) == [DeltaWrite.WRITTEN]
        assert await read(deltas) == [Entry(1, "Hel"), Entry(2, "lo\n€\0"), Entry(3, "!")]
        assert await read(deltas, number=1, limit=1) == [Entry(2, "lo\n€\0")]
        assert await read(deltas, number=3) == []

    async def test_many_jobs_at_once(self, deltas):
        jobs = [f"j{n}" for n in range(20)]
        outcomes = await deltas.write([batch(job, job_id=job) for job in jobs], ())
        assert outcomes == [DeltaWrite.WRITTEN] * 20
        pages = await deltas.read([DeltaPosition(job, 1, 0) for job in jobs], 10)
        assert [list(page) for page in pages] == [[Entry(1, job)] for job in jobs]
        assert await deltas.read([], 10) == []

    async def test_writing_again_changes_nothing(self, deltas):
        """The reply to the first may have got lost; the second may have grown since."""
        await deltas.write([batch("a")], ())
        assert await deltas.write([batch("a", "b")], ()) == [DeltaWrite.WRITTEN]
        assert await deltas.write([batch("a", "b")], ()) == [DeltaWrite.WRITTEN]
        assert await read(deltas) == [Entry(1, "a"), Entry(2, "b")]

    async def test_wipe_is_noticed(self, deltas):
        await deltas.write([batch("a")], ())
        await deltas.wipe()
        assert await deltas.write([batch("b", after=1)], ()) == [DeltaWrite.WIPED]
        assert await read(deltas) == []
        snapshot = batch("ab", after=1, is_snapshot=True)
        assert await deltas.write([snapshot], ()) == [DeltaWrite.WRITTEN]
        assert await deltas.write([batch("c", after=2)], ()) == [DeltaWrite.WRITTEN]
        assert await read(deltas) == [Entry(2, "ab", is_snapshot=True), Entry(3, "c")]

    async def test_older_attempt_is_refused_and_forgotten(self, deltas):
        await deltas.write([batch("old", "er")], ())
        assert await deltas.write([batch("new", attempt=2)], ()) == [DeltaWrite.WRITTEN]
        late = [batch("est", after=2), batch("older", after=2, is_snapshot=True)]
        for each in late:
            assert await deltas.write([each], ()) == [DeltaWrite.SUPERSEDED]
        assert await read(deltas) == []
        assert await read(deltas, attempt=2) == [Entry(1, "new")]

    async def test_attempts_and_numbers_are_ordered_as_numbers(self, deltas):
        """9 comes before 10."""
        await deltas.write([batch(*"abcdefghijkl", attempt=9)], ())
        assert [entry.text for entry in await read(deltas, attempt=9, number=9)] == ["j", "k", "l"]
        await deltas.write([batch("z", attempt=10)], ())
        assert await deltas.write([batch("m", attempt=9, after=12)], ()) == [DeltaWrite.SUPERSEDED]

    async def test_nothing_new_keeps_what_is_there(self, deltas):
        await deltas.write([batch("a")], ())
        assert await deltas.write([batch(after=1)], ()) == [DeltaWrite.WRITTEN]
        assert await deltas.write([batch(job_id="j2")], ()) == [DeltaWrite.WRITTEN]
        assert await read(deltas) == [Entry(1, "a")]
        assert await read(deltas, job_id="j2") == []


class TestValkey:
    async def test_everything_expires(self, redis):
        deltas = RedisDeltas(redis)
        for each in (batch("a"), batch("a", is_snapshot=True), batch(after=1)):
            await deltas.write([each], ())
            assert 0 < await redis.ttl(stream_of("j1")) <= 60

    async def test_replicas_hear_what_is_new(self, redis):
        told, changed = [], []
        changes = RedisChanges(redis, told.extend, changed.extend)
        listening = asyncio.ensure_future(changes.listen())
        await until(changes.is_listening.is_set)
        await RedisDeltas(redis).write([batch("a"), batch(job_id="j2")], ["j3", "j4"])
        await until(lambda: told and changed)
        assert (told, sorted(changed)) == (["j1"], ["j3", "j4"])
        listening.cancel()

    async def test_absence_is_told_soon(self):
        client = open_redis("redis://127.0.0.1:1/0", timeout_seconds=0.2)
        deltas, began = RedisDeltas(client), time.monotonic()
        with pytest.raises(Unavailable):
            await deltas.write([batch("a")], ())
        with pytest.raises(Unavailable):
            await read(deltas)
        assert time.monotonic() - began < 5
        await client.aclose()

    async def test_refused_write_shows_no_text(self, redis):
        """An error of Redis may quote what it was given; ours does not."""
        await redis.set(stream_of("j1"), "not a stream")
        with pytest.raises(Unavailable) as caught:
            await RedisDeltas(redis).write([batch("secret")], ())
        assert caught.value.__cause__ is None
        assert "secret" not in str(caught.value)


@pytest.fixture
def lifecycle(store):
    if hasattr(store, "engine"):
        return PostgresLifecycle(autocommit_sessions(store.engine))
    return FakeLifecycle(store)


class TestLifecycle:
    async def test_latest_of_many_jobs(self, world, lifecycle):
        first, second = await world.claimed(), await admitted(world.store, a_job())
        found = await lifecycle.latest({first.id: 0, second.id: 1, "j9": 0}, 10)
        assert [(r.seq, r.type) for r in found[first.id]] == [
            (1, "created"),
            (2, "pending"),
            (3, "running"),
        ]
        assert found[first.id][-1].begun_attempt == 1
        assert [(r.seq, r.type) for r in found[second.id]] == [(2, "pending")]
        assert "j9" not in found

    async def test_only_the_newest_of_too_many(self, world, lifecycle):
        job = await world.claimed()
        found = await lifecycle.latest({job.id: 0}, 2)
        assert [record.seq for record in found[job.id]] == [2, 3]
        assert await lifecycle.latest({job.id: 3}, 2) == {}
        assert await lifecycle.latest({}, 2) == {}

    async def test_pages(self, world, lifecycle):
        job = await world.claimed()
        assert [record.seq for record in await lifecycle.page(job.id, 0, 2)] == [1, 2]
        assert [record.seq for record in await lifecycle.page(job.id, 2, 2)] == [3]

    async def test_what_is_around_a_cursor(self, world, lifecycle):
        job = await world.claimed()
        await world.cancel("p1", job.id)
        around = await lifecycle.around(job.id, 4)
        assert [record.type for record in around] == ["running", "cancel_requested"]
        around = await lifecycle.around(job.id, 1)
        assert [record.seq for record in around] == [1, 4]
        assert not Cursor(2**31 - 1).is_possible(await lifecycle.around(job.id, 2**31 - 1))
        assert await lifecycle.around("j9", 1) == []

    async def test_end_tells_how_much_was_said(self, world, lifecycle):
        """Of a queued job the deltas that were written; a reader knows whether it has them all."""
        job = await world.create(a_submission())
        await world.dispatch_all()
        (*_, last) = await lifecycle.page(job.id, 0, 100)
        assert (last.type, last.is_final) == ("completed", True)
        assert last.delta_count == len(world.deltas.streams[job.id]) > 0
