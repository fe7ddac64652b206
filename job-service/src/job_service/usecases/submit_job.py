"""Write a job's row and its idempotency row: step a of the protocol's admission."""

from __future__ import annotations

from dataclasses import dataclass, replace

from job_service.domain.budget_scope import BudgetScope
from job_service.domain.charge import Terms
from job_service.domain.errors import IdempotencyKeyReused
from job_service.domain.job import Job
from job_service.domain.specification import JobKind, JobSpecification
from job_service.domain.targets import agree_terms
from job_service.usecases.check_queue_room import CheckQueueRoom
from job_service.usecases.idempotency_ports import IdempotencyKey, Reservation
from job_service.usecases.ports import (
    JobMetrics,
    Prices,
    Targets,
    UnitOfWork,
    UnitOfWorkFactory,
)
from service_kit.errors import InvalidArgument, Unavailable
from service_kit.failpoints import failpoint
from service_kit.ids import new_id

MAX_KEY_CHARACTERS = 255
HIGHEST_PRIORITY = 100
ROUTES = {JobKind.QUEUED: "CreateJob", JobKind.INTERACTIVE: "RunJob"}


@dataclass(frozen=True, slots=True)
class Submission:
    """A request for a job, by somebody who may make it."""

    project_id: str
    owner_user_id: str
    is_default_project: bool
    kind: JobKind
    specification: JobSpecification
    key: str
    max_retries: int
    origin_request_id: str
    priority: int = 0
    # Of the project's team; empty where it has none.
    team_id: str = ""
    # Of the key that it came with; empty for a person.
    api_key_id: str = ""


@dataclass(frozen=True, slots=True)
class Submitted:
    """A job, and whether this request made it."""

    job: Job
    is_new: bool


@dataclass(frozen=True, slots=True)
class SubmitJob:
    unit_of_work: UnitOfWorkFactory
    prices: Prices
    targets: Targets
    metrics: JobMetrics
    check_room: CheckQueueRoom

    async def __call__(self, submission: Submission) -> Submitted:
        """Return the new job, `admitting`, or the one that the key made before.

        Raises:
            InvalidArgument: A field holds what it may not.
            ModelNotFound: No target serves the model; nothing was written.
            OperationNotServed: None that serves it does what is asked; nothing was written.
            IdempotencyKeyReused: The key made another job.
            QueueFull: The project has too many queued jobs already; nothing was written.
            Unavailable: For interactive work: no price or model is known.
        """
        submission.specification.check(submission.kind)
        check_key(submission.key)
        _check_priority(submission.priority)
        known = await self._find(submission)
        if known is not None:
            return Submitted(known, is_new=False)
        job = _new_job(submission, await self._terms(submission))
        stored = await self._store(submission, job)
        if stored.is_new:
            await failpoint("after_job_row")
            self.metrics.job_changed(stored.job.kind, stored.job.state)
        return stored

    async def _terms(self, submission: Submission) -> Terms | None:
        """Return the terms; `None` for queued work that has to wait until they can be known."""
        try:
            return self._known_terms(submission)
        except Unavailable:
            if submission.kind is JobKind.QUEUED:
                return None
        # Somebody waits, and the first worker may have come just now.
        await self.targets.refresh()
        await self.prices.refresh()
        return self._known_terms(submission)

    def _known_terms(self, submission: Submission) -> Terms:
        return agree_terms(submission.specification, self.targets.current(), self.prices.current())

    async def _find(self, submission: Submission) -> Job | None:
        if not submission.key:
            return None
        async with self.unit_of_work() as work:
            found = await work.idempotency.find(_key(submission))
            if found is None:
                return None
            _check_same(submission, found)
            return await _first_job(work, submission, found.job_id)

    async def _store(self, submission: Submission, job: Job) -> Submitted:
        async with self.unit_of_work() as work:
            if submission.key:
                wanted = Reservation(job.id, _body_hash(submission))
                holder = await work.idempotency.reserve(_key(submission), wanted)
                if holder.job_id != job.id:
                    _check_same(submission, holder)
                    first = await _first_job(work, submission, holder.job_id)
                    if first is not None:
                        return Submitted(first, is_new=False)
                    raise Unavailable("job")
            if job.is_queued:
                await self.check_room(work, job.project_id)
            return Submitted(await work.jobs.add(job), is_new=True)


async def _first_job(work: UnitOfWork, submission: Submission, job_id: str) -> Job | None:
    """Return the job that the key made, with everything its caller is told again."""
    job = await work.jobs.find(submission.project_id, job_id)
    if job is None or not job.specification.makes_vectors:
        return job
    # The same key is the same request, down to its inputs.
    specification = replace(job.specification, inputs=submission.specification.inputs)
    vectors = await work.jobs.find_embeddings(job_id)
    return replace(job, specification=specification, result_embeddings=vectors)


def _new_job(submission: Submission, terms: Terms | None) -> Job:
    return Job(
        id=new_id(),
        project_id=submission.project_id,
        kind=submission.kind,
        specification=submission.specification,
        scopes=_scopes(submission),
        max_retries=submission.max_retries,
        origin_request_id=submission.origin_request_id,
        priority=submission.priority,
        lease_token=new_id(),
        terms=terms,
    )


def _scopes(submission: Submission) -> tuple[BudgetScope, ...]:
    """Return whose budgets the job uses: its project's, its team's, and its key's if one was set.

    Their order means nothing: cost-service brings them into the one in which everybody locks them.
    """
    owner = submission.owner_user_id
    scopes = [BudgetScope("project", submission.project_id, owner, submission.is_default_project)]
    if submission.team_id:
        # A team's budget is at nobody's expense, and has a default in any case.
        scopes.append(BudgetScope("team", submission.team_id, "", default_cap=False))
    if submission.api_key_id:
        scopes.append(BudgetScope("api_key", submission.api_key_id, owner, default_cap=False))
    return tuple(scopes)


def _key(submission: Submission) -> IdempotencyKey:
    return IdempotencyKey(submission.project_id, ROUTES[submission.kind], submission.key)


def _body_hash(submission: Submission) -> str:
    further = [submission.max_retries]
    if submission.priority:
        # Else as it was written before there were priorities: keys from then are still known.
        further.append(submission.priority)
    return submission.specification.fingerprint(*further)


def _check_same(submission: Submission, found: Reservation) -> None:
    if found.body_hash != _body_hash(submission):
        raise IdempotencyKeyReused()


def _check_priority(priority: int) -> None:
    if abs(priority) > HIGHEST_PRIORITY:
        message = f"This must be a number from -{HIGHEST_PRIORITY} to {HIGHEST_PRIORITY}."
        raise InvalidArgument("priority", message)


def check_key(key: str) -> None:
    """Refuse what can be no idempotency key.

    Raises:
        InvalidArgument: It is too long, or no text that can be stored.
    """
    if len(key) > MAX_KEY_CHARACTERS or "\0" in key:
        raise InvalidArgument(
            "request_id", f"A key has at most {MAX_KEY_CHARACTERS} characters and no NUL."
        )
