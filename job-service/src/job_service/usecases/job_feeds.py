"""One look at Postgres and Redis for all readers of this process."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from job_service.domain.answer import WINDOW_DELTAS, Answer
from job_service.domain.story import WINDOW_RECORDS, Story
from job_service.usecases.event_ports import (
    DeltaPosition,
    DeltaStore,
    FeedMetrics,
    LifecycleLog,
)
from job_service.usecases.ports import UnitOfWorkFactory
from service_kit.clock import Clock
from service_kit.errors import Unavailable

PAGE: Final = 200
AT_ONCE: Final = 100
# Fewer, since each may have a long result.
ENDED_AT_ONCE: Final = 20
# A read that failed once may go well in a moment; after that, Redis is away.
MOST_FAILED_READS: Final = 2


@dataclass(slots=True, eq=False)
class Feed:
    """What is known of one job, for as long as it has readers here."""

    job_id: str
    story: Story
    readers: int = 0
    # What to look at next, because something was said about it.
    is_changed: bool = True
    is_told: bool = True
    failed_reads: int = 0
    is_closed: bool = False
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def news(self) -> asyncio.Event:
        """Set when there is more than there was when this was asked for."""
        return self._news

    def tell(self) -> None:
        """Wake the readers."""
        self._news.set()
        self._news = asyncio.Event()

    @property
    def waits_for_end(self) -> bool:
        return self.story.final is not None and self.story.ended is None


class JobFeeds:
    """Keeps the feeds of all jobs that are watched here.

    A round looks at what was hinted at, and from time to time at everything, since hints get
    lost. All jobs share its queries, and all readers of a job share what came of them.

    Args:
        lifecycle: Changes of jobs.
        deltas: Answers of running jobs.
        unit_of_work: Jobs as they ended.
        metrics: Learns how much is watched.
        clock: Tells when everything is due.
        poll_seconds: How often that is.
        window_deltas: How many deltas a reader may be behind before it gets a snapshot.
    """

    def __init__(
        self,
        lifecycle: LifecycleLog,
        deltas: DeltaStore,
        unit_of_work: UnitOfWorkFactory,
        metrics: FeedMetrics,
        clock: Clock,
        poll_seconds: float,
        window_deltas: int = WINDOW_DELTAS,
    ) -> None:
        self.wake = asyncio.Event()
        self._lifecycle = lifecycle
        self._deltas = deltas
        self._unit_of_work = unit_of_work
        self._metrics = metrics
        self._clock = clock
        # A little less than the loop's pause, so that each undisturbed round looks at everything.
        self._poll_seconds = poll_seconds * 0.8
        self._window_deltas = window_deltas
        self._feeds: dict[str, Feed] = {}
        self._polled_at = clock.monotonic() - poll_seconds
        self._is_stopping = False

    def __len__(self) -> int:
        return len(self._feeds)

    @contextmanager
    def reading(self, job_id: str) -> Iterator[Feed]:
        """Give the job's feed, which is kept up to date while the block runs.

        Raises:
            Unavailable: This process is stopping.
        """
        if self._is_stopping:
            raise Unavailable("job-service")
        feed = self._feeds.get(job_id)
        # One that ended is for those who read it. The job may have been retried since.
        if feed is None or feed.story.ended is not None:
            answer = Answer(most_deltas=self._window_deltas)
            feed = self._feeds[job_id] = Feed(job_id, Story(answer=answer))
        feed.readers += 1
        # The reader may know more than we do, from another replica.
        self.changed([job_id])
        self._measure()
        try:
            yield feed
        finally:
            feed.readers -= 1
            if feed.readers == 0 and self._feeds.get(job_id) is feed:
                del self._feeds[job_id]
            self._measure()

    def changed(self, job_ids: Collection[str]) -> None:
        """Say that these jobs have new lifecycle events."""
        for job_id in job_ids:
            if feed := self._feeds.get(job_id):
                feed.is_changed = True
                self.wake.set()

    def told(self, job_ids: Collection[str]) -> None:
        """Say that these jobs have new deltas."""
        for job_id in job_ids:
            if feed := self._feeds.get(job_id):
                feed.is_told = True
                self.wake.set()

    def stop(self) -> None:
        """End all reading: clients find another replica, and the drain needn't wait for them."""
        self._is_stopping = True
        for feed in self._feeds.values():
            feed.is_closed = True
            feed.tell()

    async def __call__(self) -> None:
        """Look once.

        Raises:
            Unavailable: The database is away. Deltas went on nevertheless.
        """
        feeds = [feed for feed in self._feeds.values() if feed.story.ended is None]
        if not feeds:
            return
        if self._clock.monotonic() - self._polled_at >= self._poll_seconds:
            self._polled_at = self._clock.monotonic()
            for feed in feeds:
                feed.is_changed = feed.is_told = True
        try:
            await self._look_for_changes([feed for feed in feeds if feed.is_changed])
        finally:
            await self._look_for_deltas(
                [each for each in feeds if each.story.runs and (each.is_told or each.waits_for_end)]
            )
        await self._end([feed for feed in feeds if feed.waits_for_end])

    async def _look_for_changes(self, feeds: Sequence[Feed]) -> None:
        if not feeds:
            return
        seen = {feed.job_id: feed.story.last_seq for feed in feeds}
        for feed in feeds:
            feed.is_changed = False
        try:
            found = await self._lifecycle.latest(seen, WINDOW_RECORDS)
        except Unavailable:
            for feed in feeds:
                feed.is_changed = True
            raise
        for feed in feeds:
            if feed.story.take_records(found.get(feed.job_id, ())):
                feed.is_told = True
                feed.tell()

    async def _look_for_deltas(self, feeds: Sequence[Feed]) -> None:
        for start in range(0, len(feeds), AT_ONCE):
            unread = feeds[start : start + AT_ONCE]
            while unread:
                unread = await self._read(unread)

    async def _read(self, feeds: Sequence[Feed]) -> list[Feed]:
        """Read a page for each, and return those that may have more."""
        positions = [
            DeltaPosition(feed.job_id, feed.story.answer.attempt, feed.story.answer.read_to)
            for feed in feeds
        ]
        for feed in feeds:
            feed.is_told = False
        try:
            pages = await self._deltas.read(positions, PAGE)
        except Unavailable:
            for feed in feeds:
                feed.failed_reads += 1
                if feed.waits_for_end:
                    self.wake.set()
            return []
        for feed, page in zip(feeds, pages, strict=True):
            feed.failed_reads = 0
            if feed.story.take_entries(page):
                feed.tell()
        return [feed for feed, page in zip(feeds, pages, strict=True) if len(page) == PAGE]

    async def _end(self, feeds: Sequence[Feed]) -> None:
        """Take in jobs as they ended. All that Redis has of their answers was read before.

        Raises:
            Unavailable: Some could not be read. The others have ended.
        """
        ready = [
            feed
            for feed in feeds
            if not feed.story.runs or not 0 < feed.failed_reads < MOST_FAILED_READS
        ]
        failure: Unavailable | None = None
        for start in range(0, len(ready), ENDED_AT_ONCE):
            try:
                await self._end_some(ready[start : start + ENDED_AT_ONCE])
            except Unavailable as error:
                failure = error
        if failure is not None:
            raise failure

    async def _end_some(self, feeds: Sequence[Feed]) -> None:
        async with self._unit_of_work() as work:
            found = await work.jobs.find_several([feed.job_id for feed in feeds])
        jobs = {job.id: job for job in found}
        for feed in feeds:
            job, final = jobs.get(feed.job_id), feed.story.final
            if job is None or final is None:
                continue
            if job.state.is_final and final.admission in (None, job.admission):
                feed.story.end(job)
                feed.tell()
            else:
                # Retried meanwhile: there are newer changes.
                feed.is_changed = True
                self.wake.set()

    def _measure(self) -> None:
        readers = sum(feed.readers for feed in self._feeds.values())
        self._metrics.watched(len(self._feeds), readers)
