"""Give back some of what a job was charged, or charge more."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from cost_service.domain.correction import BookedCorrection, Correction, JobEntry
from cost_service.domain.errors import IdempotencyKeyReused, JobCostNotFound, NothingCharged
from cost_service.usecases.actor import actor_of
from cost_service.usecases.platform_admin import require_platform_admin
from cost_service.usecases.ports import CostMeter, UnitOfWork, UnitOfWorkFactory
from cost_service.usecases.tell_alerts import tell_alerts
from service_kit.request_context import Caller

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CorrectCharge:
    """Books a refund or surcharge as an entry of its own, in the budgets of the charge.

    Refunds are summed under the hold's lock, so that all of them together never come to more than
    was charged. A surcharge books whatever is left of the budget: the work was done.
    """

    unit_of_work: UnitOfWorkFactory
    meter: CostMeter

    async def __call__(self, caller: Caller, correction: Correction) -> JobEntry:
        """Return the entry; the same request again returns the first one.

        Raises:
            PermissionDenied: The caller does not administer the platform.
            JobCostNotFound: Nothing was ever held for such a job.
            NothingCharged: The job was not charged, or that admission of it was not.
            RefundExceedsCharge: Less than that is left of the charge.
            IdempotencyKeyReused: The request id booked something else.
        """
        require_platform_admin(caller, "costs:correct")
        async with self.unit_of_work() as work:
            entry = await _find_booked(work, correction)
            if entry is not None:
                return entry
            booked = await _book(work, correction)
            if booked is None:
                # Whoever had the id first has committed by now.
                return await _get_booked(work, correction)
            entry = booked.entry
            await work.audit.add(
                f"ledger.{entry.kind}",
                actor=actor_of(caller),
                subject=f"job {entry.job_id}",
                details={
                    "hold_id": entry.hold_id,
                    "amount_nanousd": entry.amount_nanousd,
                    "reason": entry.reason,
                    "request_id": correction.request_id,
                },
            )
        self.meter.correction_booked(entry)
        tell_alerts(self.meter, booked.alerts)
        log.info(
            "ledger.corrected",
            kind=entry.kind.value,
            hold_id=entry.hold_id,
            amount_nanousd=entry.amount_nanousd,
        )
        return entry


async def _book(work: UnitOfWork, correction: Correction) -> BookedCorrection | None:
    charge = await work.corrections.lock_charge(correction.job_id, correction.admission)
    if charge is None:
        if not await work.corrections.knows_job(correction.job_id):
            raise JobCostNotFound(correction.job_id)
        raise NothingCharged(correction.job_id, correction.admission)
    # The same request may have been booked while we waited for the lock.
    booked = await _find_booked(work, correction)
    if booked is not None:
        return None
    charge.corrected(correction)
    return await work.corrections.add(correction, charge.hold_id)


async def _find_booked(work: UnitOfWork, correction: Correction) -> JobEntry | None:
    entry = await work.corrections.find_by_request(correction.request_id)
    if entry is not None and not correction.asks_for(entry):
        raise IdempotencyKeyReused
    return entry


async def _get_booked(work: UnitOfWork, correction: Correction) -> JobEntry:
    entry = await _find_booked(work, correction)
    if entry is None:
        raise LookupError("a request id was taken and can't be found")
    return entry
