"""Store a job's change together with everything that has to change with it."""

from __future__ import annotations

import structlog

from job_service.domain.attempt import attempt_end
from job_service.domain.job import Job, JobState
from job_service.domain.settlement import settlement_of
from job_service.usecases.ports import UnitOfWork

log = structlog.get_logger(__name__)


async def store_change(work: UnitOfWork, was: Job, now: Job, ran: Job | None = None) -> Job | None:
    """Store `now` where the job still is as it `was`, and return it as stored.

    A final state brings its settlement along, an attempt its evidence: one transaction, so no
    crash can part them. `None` means that somebody else changed the job first; then nothing
    was changed here.

    Args:
        work: The open transaction.
        was: The job as it was read.
        now: The job as it shall be.
        ran: The attempt that ends with this, as far as it came, where that is not in `was`.
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
    if now.state.is_final and not await work.settlements.add(settlement_of(stored)):
        log.error("settlement.exists", job_id=stored.id, hold_id=stored.hold_id)
    if now.frees_its_key:
        await work.idempotency.release(stored.id)
    return stored
