"""Redrive many dead letters at once."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import structlog

from job_service.domain.dead_letter import DeadLetterFilter
from job_service.domain.errors import (
    DeadLetterNotFound,
    IdempotencyKeyReused,
    ModelNotFound,
    OperationNotServed,
    QueueFull,
)
from job_service.domain.job import Job
from job_service.usecases.admit_job import AdmitJob
from job_service.usecases.dead_letter_ports import DeadLetterPosition
from job_service.usecases.idempotency_ports import IdempotencyKey, Reservation
from job_service.usecases.ports import Background, UnitOfWorkFactory
from job_service.usecases.readmit_job import ReadmitJob, RetryRoute, RetryWish
from job_service.usecases.submit_job import check_key
from service_kit.errors import ServiceError

log = structlog.get_logger(__name__)

ADMITTED_AT_ONCE = 8
MOST_REFUSED: Final = 1000


@dataclass(frozen=True, slots=True)
class Refusal:
    """A dead letter that stays one, and why."""

    job_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Redriven:
    """What became of those that were meant, in the order in which they had died."""

    job_ids: Sequence[str]
    refusals: Sequence[Refusal]


@dataclass(slots=True)
class _Course:
    """A request, and how far it has come.

    Attributes:
        died_by: Since when its key is taken; `None` without a key.
        redriven: In this order, each once.
    """

    which: DeadLetterFilter
    limit: int
    actor: str
    key: str
    died_by: datetime | None = None
    redriven: dict[str, None] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    is_queue_full: bool = False

    @property
    def left(self) -> int:
        return self.limit - len(self.redriven)

    @property
    def is_over(self) -> bool:
        return self.left <= 0 or len(self.refusals) >= MOST_REFUSED or self.is_queue_full

    def key_of(self, job_id: str) -> str:
        """Return under which key a job is redriven; that of no job is the request's own."""
        return f"{self.key}:{job_id}" if self.key else ""

    @property
    def own_key(self) -> IdempotencyKey:
        return IdempotencyKey(self.which.project_id, RetryRoute.REDRIVE_MANY, self.key_of(""))

    @property
    def body_hash(self) -> str:
        body = json.dumps([self.which.type, self.which.failure_reason, self.limit])
        return hashlib.sha256(body.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class RedriveDeadLetters:
    """Opens their admissions one after the other, each for good, and admits them beside that."""

    unit_of_work: UnitOfWorkFactory
    readmit: ReadmitJob
    admit: AdmitJob
    background: Background
    _gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(ADMITTED_AT_ONCE))

    async def __call__(
        self, which: DeadLetterFilter, limit: int, *, actor: str, key: str
    ) -> Redriven:
        """Redrive up to `limit`, and return which.

        Those that nothing could run now are refused, and passed over for those behind them, until
        `MOST_REFUSED` are. Where the project's queue is full, it ends: the others of the `limit`
        are refused with `QUEUE_FULL`.

        A key stands for one selection: `limit` at most of what was dead when it came first. The
        same request again redrives what is left of that, and returns all that were redriven
        under the key.

        Raises:
            InvalidArgument: This can be no key.
            IdempotencyKeyReused: The key came with another filter or limit.
            ServiceError: Something is away; some may have been redriven before.
        """
        check_key(key)
        course = _Course(which, limit, actor, key)
        if key:
            await self._take_key(course)
        after: DeadLetterPosition | None = None
        while not course.is_over and (page := await self._page(course, after)):
            await self._redrive_page(course, page)
            after = page[-1]
        log.info(
            "dead_letters.redriven", redriven=len(course.redriven), refused=len(course.refusals)
        )
        return Redriven(list(course.redriven), course.refusals)

    async def _take_key(self, course: _Course) -> None:
        wanted = Reservation("", course.body_hash)
        async with self.unit_of_work() as work:
            holder = await work.idempotency.reserve(course.own_key, wanted)
        if holder != wanted:
            raise IdempotencyKeyReused()
        course.died_by = holder.taken_at

    async def _page(
        self, course: _Course, after: DeadLetterPosition | None
    ) -> Sequence[DeadLetterPosition]:
        """Return who comes next, and note who was redriven under the key."""
        async with self.unit_of_work() as work:
            page = await work.dead_letters.oldest(course.which, course.left, after, course.died_by)
            if course.key:
                # After the page: whom the same request redrives meanwhile is in one of the two.
                known = await work.idempotency.jobs_under(course.own_key)
                course.redriven.update(dict.fromkeys(known))
        return page

    async def _redrive_page(self, course: _Course, page: Sequence[DeadLetterPosition]) -> None:
        for number, place in enumerate(page):
            if course.is_over:
                return
            try:
                await self._redrive(course, place.job_id)
            except QueueFull as error:
                others = page[number : number + course.left]
                course.refusals += [Refusal(each.job_id, error.reason) for each in others]
                course.is_queue_full = True

    async def _redrive(self, course: _Course, job_id: str) -> None:
        wish = RetryWish(
            course.which.project_id,
            job_id,
            RetryRoute.REDRIVE_MANY,
            course.actor,
            course.key_of(job_id),
        )
        try:
            readmitted = await self.readmit(wish)
        except (ModelNotFound, OperationNotServed) as error:
            course.refusals.append(Refusal(job_id, error.reason))
            return
        except DeadLetterNotFound:
            # Somebody else decided about it meanwhile.
            return
        course.redriven[job_id] = None
        if readmitted.is_new:
            job = readmitted.job
            self.background.start(self._admit(job), request_id=job.origin_request_id)

    async def _admit(self, job: Job) -> None:
        try:
            async with self._gate:
                await self.admit(job)
        except ServiceError as error:
            log.warning("job.admission_postponed", job_id=job.id, reason=error.reason)
