"""Run a job while its caller waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from job_service.domain.decision import RouteDecision
from job_service.domain.errors import IdempotencyKeyInFlight, JobFailed
from job_service.domain.execution import Delta, Embedding, ExecutionEvent, Started
from job_service.domain.job import Job
from job_service.domain.job_state import JobState
from job_service.domain.vectors import divided
from job_service.usecases.admit_job import AdmitJob
from job_service.usecases.execute_attempt import ExecuteAttempt, StopReason, StopSignal
from job_service.usecases.get_job import GetJob
from job_service.usecases.live_attempts import LiveAttempts
from job_service.usecases.ports import Background
from job_service.usecases.submit_job import Submission, SubmitJob
from service_kit.errors import ServiceError, Unavailable


@dataclass(frozen=True, slots=True)
class Admitted:
    """The job has its row; it will be settled whatever comes."""

    job: Job


@dataclass(frozen=True, slots=True)
class Ended:
    """The job's end is durable."""

    job: Job


RunEvent = Admitted | RouteDecision | Started | Delta | Embedding | Ended


@dataclass(slots=True)
class _Run:
    """What a job and its waiting caller share."""

    stop: StopSignal = field(default_factory=StopSignal)
    events: asyncio.Queue[RunEvent | Exception] = field(default_factory=asyncio.Queue)

    def emit(self, event: ExecutionEvent) -> None:
        if isinstance(event, (RouteDecision, Started, Delta, Embedding)):
            self.events.put_nowait(event)


@dataclass(frozen=True, slots=True)
class RunJob:
    """Admits and executes in a task of the service, which outlives the caller.

    The caller only listens. When it leaves, the task stops the engine, and charges what was made.
    """

    submit: SubmitJob
    admit: AdmitJob
    execute: ExecuteAttempt
    background: Background
    live: LiveAttempts
    get_job: GetJob

    async def __call__(self, submission: Submission) -> AsyncGenerator[RunEvent, None]:
        """Give the job's events; the last one is `Ended`.

        Raises:
            IdempotencyKeyInFlight: The key's job has not ended.
            JobFailed: It ended without an answer.
            ServiceError: As `SubmitJob`, or what admission needs is away.
        """
        submitted = await self.submit(submission)
        job = submitted.job
        if not submitted.is_new:
            for told in _replay(job):
                yield told
            return
        run = _Run()
        self.background.start(self._carry(job, run), request_id=submission.origin_request_id)
        try:
            yield Admitted(job)
            while True:
                event = await run.events.get()
                if isinstance(event, Exception):
                    raise event
                yield event
                if isinstance(event, Ended):
                    return
        finally:
            run.stop.ask(StopReason.CALLER_GONE)

    async def _carry(self, job: Job, run: _Run) -> None:
        """Take the job to its end, and tell the caller about it."""
        try:
            with self.live.holding(job.id, run.stop):
                run.events.put_nowait(Ended(await self._admit_and_execute(job, run)))
        except ServiceError as error:
            run.events.put_nowait(error)
        except Exception as error:
            run.events.put_nowait(error)
            raise

    async def _admit_and_execute(self, job: Job, run: _Run) -> Job:
        admitted = await self._admit(job)
        if admitted.state is not JobState.RUNNING:
            raise _failure(admitted)
        ended = await self.execute(admitted, run.stop, run.emit)
        if ended is None:
            raise JobFailed(job.id, "INTERRUPTED", "The job's lease was lost while it ran.")
        if _has_no_answer(ended):
            raise _failure(ended)
        return ended

    async def _admit(self, job: Job) -> Job:
        try:
            admitted = await self.admit(job)
        except ServiceError as error:
            await self.admit.give_up(job, error)
            raise
        if admitted is not None:
            return admitted
        moved = await self.get_job(job.project_id, job.id)
        # Somebody cancelled it, or a reaper had to take it for left behind.
        raise _failure(moved) if moved.state.is_final else Unavailable("job")


def _replay(job: Job) -> list[RunEvent]:
    """Return what a finished job's caller was told, once more."""
    if not job.state.is_final:
        raise IdempotencyKeyInFlight(job.id)
    if _has_no_answer(job):
        raise _failure(job)
    events: list[RunEvent] = [Admitted(job)]
    if job.decision is not None:
        events.append(job.decision)
    if job.executed_target is not None:
        events.append(Started(job.executed_target, job.executed_model or ""))
    if job.result_text:
        events.append(Delta(job.result_text, 0))
    if job.result_embeddings is not None:
        vectors = divided(job.result_embeddings, len(job.specification.inputs))
        events += [Embedding(index, vector) for index, vector in enumerate(vectors)]
    return [*events, Ended(job)]


def _has_no_answer(job: Job) -> bool:
    """Tell whether it failed or was cancelled. Who only left may have what was made until then."""
    return job.state is JobState.FAILED or (
        job.state is JobState.CANCELLED and job.cancel_requested
    )


def _failure(job: Job) -> JobFailed:
    if job.state is JobState.CANCELLED:
        return JobFailed(job.id, "JOB_CANCELLED", "Somebody cancelled the job.")
    return JobFailed(job.id, job.failure_reason or "FAILED", job.last_error or "The job failed.")
