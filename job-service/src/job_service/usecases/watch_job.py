"""Follow what happens to a job."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from job_service.domain.errors import EventCursorInvalid, JobNotFound
from job_service.domain.job_events import Cursor, Gap, JobEnded, Told
from job_service.usecases.event_ports import FeedMetrics, LifecycleLog
from job_service.usecases.job_feeds import PAGE, Feed, JobFeeds
from job_service.usecases.ports import UnitOfWorkFactory
from service_kit.errors import Unavailable


@dataclass(frozen=True, slots=True)
class WatchJob:
    """Tells a job's events from wherever the reader is, until the job has ended.

    A reader takes what comes next when it is ready for it. Nothing is queued for it, so a slow
    one costs nothing; when it is too far behind, it is told of a gap.
    """

    unit_of_work: UnitOfWorkFactory
    lifecycle: LifecycleLog
    feeds: JobFeeds
    metrics: FeedMetrics

    async def __call__(
        self, project_id: str, job_id: str, after: str
    ) -> AsyncGenerator[Told, None]:
        """Give the events after the cursor `after`; the last one is `JobEnded`.

        Raises:
            JobNotFound: The project has no such job.
            EventCursorInvalid: `after` was never a cursor of this job.
            Unavailable: Something that is needed is away, or this process stops. The reader may
                go on at its last cursor.
        """
        async with self.unit_of_work() as work:
            job = await work.jobs.find(project_id, job_id)
        if job is None:
            raise JobNotFound(job_id)
        at = Cursor.parse(after)
        if at.seq > 0 and not at.is_possible(await self.lifecycle.around(job_id, at.seq)):
            raise EventCursorInvalid()
        with self.feeds.reading(job_id) as feed:
            while True:
                for told in await self._next(feed, at):
                    at = told.cursor
                    if isinstance(told.event, Gap):
                        self.metrics.gap_told()
                    yield told
                    if isinstance(told.event, JobEnded):
                        return

    async def _next(self, feed: Feed, at: Cursor) -> Sequence[Told]:
        """Return what comes next, as soon as it is there."""
        while True:
            news = feed.news
            if feed.is_closed:
                raise Unavailable("job-service")
            if feed.story.lacks(at):
                return await self._look_up(feed, at)
            coming = feed.story.after(at)
            if coming:
                return coming
            await news.wait()

    async def _look_up(self, feed: Feed, at: Cursor) -> Sequence[Told]:
        """Return changes that are older than what the feed keeps."""
        told = []
        for record in await self.lifecycle.page(feed.job_id, at.seq, PAGE):
            # An end that something follows was none: the job was retried.
            if record.is_final and record.seq >= feed.story.last_seq:
                break
            at = at.after_change(record)
            told.append(Told(record, at))
        return told
