"""Store a job's change together with everything that has to change with it."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from job_service.domain.attempt import attempt_end
from job_service.domain.execution import Progress
from job_service.domain.job import Job
from job_service.domain.job_state import CLAIMABLE_STATES, JobState
from job_service.domain.receipt import SIGNER, Receipt, ReceiptKey, statement_of
from job_service.domain.result_statement import ReadResult, read_result, refused, worker_owner
from job_service.domain.settlement import settlement_of
from job_service.usecases.ports import JobMetrics, ReceiptSigner, UnitOfWork

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StoreChange:
    """The one way in which a job's state changes, but for claims.

    Args:
        signer: Signs a receipt for each final state.
        metrics: Counts what workers signed wrongly.
    """

    signer: ReceiptSigner
    metrics: JobMetrics

    async def __call__(
        self,
        work: UnitOfWork,
        was: Job,
        now: Job,
        ran: Job | None = None,
        progress: Progress | None = None,
    ) -> Job | None:
        """Store `now` where the job still is as it `was`, and return it as stored.

        A final state brings its settlement and its receipt along, an attempt its evidence: one
        transaction, so no crash can part them. `None` means that somebody else changed the job
        first; then nothing was changed here. A job that would wait, and was asked to stop, is
        stored as cancelled.

        Args:
            work: The open transaction.
            was: The job as it was read.
            now: The job as it shall be.
            ran: The attempt that ends with this, as far as it came, where that is not in `was`.
            progress: What arrived of that attempt.
        """
        stored = await work.jobs.save(was, now)
        if stored is None:
            return None
        runs, ran_before = now.state is JobState.RUNNING, was.state is JobState.RUNNING
        if runs and not ran_before:
            await work.attempts.open(stored)
        if runs and ran_before and now.dispatch != was.dispatch:
            await work.attempts.note_dispatch(stored)
        if ran_before and not runs:
            await work.attempts.close(attempt_end(ran or was, now))
        if now.state.is_final:
            await self._end(work, stored, progress)
        if now.state is JobState.DEAD_LETTER:
            _alert(stored)
        if now.frees_its_key:
            await work.idempotency.release(stored.id)
        if stored.cancel_requested and stored.state in CLAIMABLE_STATES:
            # Asked for while it ran: it does not wait for another attempt.
            return await self(work, stored, stored.cancellation_requested())
        return stored

    async def _end(self, work: UnitOfWork, job: Job, progress: Progress | None) -> None:
        receipt = await self._receipt(work, job, progress)
        if not await work.settlements.add(settlement_of(job), receipt):
            log.error("settlement.exists", job_id=job.id, hold_id=job.hold_id)

    async def _receipt(self, work: UnitOfWork, job: Job, progress: Progress | None) -> Receipt:
        # Ours first: no worker may come to own it.
        key = ReceiptKey(self.signer.key_id, self.signer.public_key, SIGNER)
        await work.receipts.keep_key(key)
        result = await self._result(work, job, progress)
        finished = progress.finished if progress else None
        response_id = finished.provider_response_id if finished else ""
        statement = statement_of(job, result, response_id)
        return Receipt(job.id, job.admission, statement, key.key_id, self.signer.sign(statement))

    async def _result(self, work: UnitOfWork, job: Job, progress: Progress | None) -> ReadResult:
        """Return what the worker vouches for, its key kept; or why it is left out."""
        result = read_result(job, progress)
        if result.signed is not None and result.statement is not None:
            owner = worker_owner(result.statement["worker_id"])
            key = ReceiptKey(result.signed.key_id, result.signed.public_key, owner)
            if await work.receipts.keep_key(key) != owner:
                result = refused("The key is somebody else's.")
        if result.problem is not None:
            log.warning("result.signature_refused", job_id=job.id, problem=result.problem)
            self.metrics.result_refused()
        return result


def _alert(job: Job) -> None:
    """Say that a person has to look at this."""
    log.warning(
        "job.dead_lettered",
        job_id=job.id,
        project_id=job.project_id,
        type=job.specification.type,
        admission=job.admission,
        attempt=job.attempt,
        reason=job.failure_reason,
    )
