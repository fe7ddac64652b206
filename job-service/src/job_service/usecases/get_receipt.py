"""Look at receipts, and at the keys to verify them with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from job_service.domain.errors import JobNotFinished, JobNotFound, ReceiptNotFound
from job_service.domain.receipt import Receipt, ReceiptKey
from job_service.usecases.ports import UnitOfWorkFactory


@dataclass(frozen=True, slots=True)
class VerifiableReceipt:
    """A receipt with the keys that it needs."""

    receipt: Receipt
    keys: Sequence[ReceiptKey]


@dataclass(frozen=True, slots=True)
class GetReceipt:
    unit_of_work: UnitOfWorkFactory

    async def __call__(self, project_id: str, job_id: str) -> VerifiableReceipt:
        """Return the receipt of a job of the project: that of its newest admission.

        Raises:
            JobNotFound: The project has no such job.
            JobNotFinished: It has not come to a final state.
            ReceiptNotFound: It did so before there were receipts.
        """
        async with self.unit_of_work() as work:
            job = await work.jobs.find(project_id, job_id)
            if job is None:
                raise JobNotFound(job_id)
            if not job.state.is_final:
                raise JobNotFinished(job_id)
            receipt = await work.receipts.find(job_id)
            if receipt is None:
                raise ReceiptNotFound(job_id)
            return VerifiableReceipt(receipt, await work.receipts.find_keys(receipt.key_ids))


@dataclass(frozen=True, slots=True)
class ListReceiptKeys:
    unit_of_work: UnitOfWorkFactory

    async def __call__(self) -> Sequence[ReceiptKey]:
        """Return every key that signed receipts, or results within them, newest first."""
        async with self.unit_of_work() as work:
            return await work.receipts.list_keys()
