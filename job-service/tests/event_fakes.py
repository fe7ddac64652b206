"""Fakes of what a job's events are kept in. They pass the same suite as Valkey and Postgres."""

import asyncio
from datetime import UTC, datetime

from job_service.domain.answer import Entry
from job_service.domain.job_events import LifecycleRecord
from job_service.usecases.event_ports import DeltaWrite
from job_service.usecases.publish_deltas import DeltaPublisher
from service_kit.errors import Unavailable

MOMENT = datetime(2026, 1, 2, tzinfo=UTC)


class FakeDeltas:
    """Streams in memory, as the scripts keep them in Redis."""

    def __init__(self):
        self.streams = {}
        self.kept = {}
        self.hints = []
        self.is_away = False
        self.lose_next_reply = False
        self.reads = self.writes = 0

    def wipe(self):
        self.streams.clear()
        self.kept.clear()

    async def write(self, batches, changed):
        self.writes += 1
        await asyncio.sleep(0)
        if self.is_away:
            raise Unavailable("redis")
        outcomes = [self._write(batch) for batch in batches]
        self.hints.append(({batch.job_id for batch in batches if batch.texts}, set(changed)))
        if self.lose_next_reply:
            self.lose_next_reply = False
            raise Unavailable("redis")
        return outcomes

    def _write(self, batch):
        stream = self.streams.get(batch.job_id, [])
        top_attempt, top = (stream[-1][0], stream[-1][1].number) if stream else (0, 0)
        if top_attempt > batch.attempt:
            return DeltaWrite.SUPERSEDED
        if batch.is_snapshot:
            stream = [(batch.attempt, Entry(batch.last, batch.texts[0], True))]
        else:
            if top_attempt < batch.attempt:
                stream, top = [], 0
            if not batch.after <= top <= batch.last:
                return DeltaWrite.WIPED
            numbered = enumerate(batch.texts, batch.after + 1)
            stream = stream + [(batch.attempt, Entry(n, t)) for n, t in numbered if n > top]
        if stream:
            self.streams[batch.job_id] = stream
            self.kept[batch.job_id] = batch.keep_seconds
        return DeltaWrite.WRITTEN

    async def read(self, positions, limit):
        self.reads += 1
        await asyncio.sleep(0)
        if self.is_away:
            raise Unavailable("redis")
        return [
            [
                entry
                for attempt, entry in self.streams.get(position.job_id, [])
                if attempt == position.attempt and entry.number > position.number
            ][:limit]
            for position in positions
        ]


class WokenPublisher(DeltaPublisher):
    """A publisher whose loop writes when an attempt ends."""

    async def finish(self, attempt):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.flush())
            await super().finish(attempt)


class FakeLifecycle:
    """Lifecycle events of a `FakeStore`, or of a dictionary of records."""

    def __init__(self, store=None):
        self._store = store
        self.records = {}
        self.is_away = False
        self.queries = 0

    def tell(self, job_id, type_, **details):
        """Add an event."""
        records = self.records.setdefault(job_id, [])
        records.append(LifecycleRecord(len(records) + 1, type_, details, MOMENT))

    def _all(self, job_id):
        if self._store is None:
            return self.records.get(job_id, [])
        events = self._store.tables.events.get(job_id, [])
        return [
            LifecycleRecord(seq, str(event.type), event.details, MOMENT)
            for seq, event in enumerate(events, 1)
        ]

    async def _asked(self):
        self.queries += 1
        await asyncio.sleep(0)
        if self.is_away:
            raise Unavailable("database")

    async def latest(self, seen, limit):
        await self._asked()
        newer = {job: [r for r in self._all(job) if r.seq > seq] for job, seq in seen.items()}
        return {job: records[-limit:] for job, records in newer.items() if records}

    async def page(self, job_id, after, limit):
        await self._asked()
        return [record for record in self._all(job_id) if record.seq > after][:limit]

    async def around(self, job_id, seq):
        await self._asked()
        records = self._all(job_id)
        states = [record.seq for record in records if record.changes_state and record.seq <= seq]
        wanted = {seq, *states[-1:], *(record.seq for record in records[-1:])}
        return [record for record in records if record.seq in wanted]


class FakeFeedMetrics:
    def __init__(self):
        self.jobs = self.readers = self.gaps = 0

    def watched(self, jobs, readers):
        self.jobs, self.readers = jobs, readers

    def gap_told(self):
        self.gaps += 1
